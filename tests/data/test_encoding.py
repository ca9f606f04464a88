from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.data.encoding import EncodingRules, Ragged, encode
from lightning_moa.errors import UserError


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_row_is_bos_template_response_eos(tokenizer):
    rules = EncodingRules(template="Q: {prompt}\nA:")
    found = encode(tokenizer, ["red {x}"], [("small", "large round")], rules)
    assert found.prompts[0].tolist() == [tokenizer.bos_token_id, *ids(tokenizer, "Q: red {x}\nA:")]
    assert found.responses[0][0].tolist() == [*ids(tokenizer, "small"), tokenizer.eos_token_id]
    assert found.responses[1][0].tolist() == [*ids(tokenizer, "large round"), tokenizer.eos_token_id]
    assert not found.dropped
    assert not found.changed


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30)), max_size=8))
@settings(max_examples=40, deadline=None)
def test_lengths_hold_and_every_row_is_accounted_for(tokenizer, items):
    prompts = [item[0] for item in items]
    replies = [(item[1], item[2]) for item in items]
    for mode in ("drop", "cut"):
        rules = EncodingRules("{prompt}", max_length=20, max_response_length=12, long_responses=mode)
        found = encode(tokenizer, prompts, replies, rules)
        assert len(found) + found.dropped.total() == len(items)
        for k, row in enumerate(found.index):
            for side in (0, 1):
                reply = found.responses[side][k]
                text = replies[row][side]
                assert len(reply) <= 12
                assert len(found.prompts[k]) + len(reply) <= 20
                if reply[-1] == tokenizer.eos_token_id:
                    assert tokenizer.decode(reply[:-1]) == text
                else:
                    assert mode == "cut"
                    assert len(reply) == 12
            shown = found.shown[k]
            assert prompts[row].endswith(shown)
            assert found.prompts[k].tolist() == [tokenizer.bos_token_id, *ids(tokenizer, shown)]


def test_a_long_prompt_is_cut_within_its_template_alike_for_both_responses(tokenizer):
    prompt, short, long = "red " * 30, "a", "large round"
    rules = EncodingRules("Q: {prompt}\nA:", max_length=28, max_response_length=15)
    found = encode(tokenizer, [prompt], [(short, long)], rules)
    longest = len(ids(tokenizer, long)) + 1
    (shown,) = found.shown
    assert prompt.endswith(shown)
    assert 0 < len(shown) < len(prompt)
    assert found.prompts[0].tolist() == [tokenizer.bos_token_id, *ids(tokenizer, f"Q: {shown}\nA:")]
    assert 28 - longest - 2 <= len(found.prompts[0]) <= 28 - longest
    assert found.changed == {"prompt cut at its start": 1}


def test_a_template_without_room_for_its_prompt_drops_the_row(tokenizer):
    rules = EncodingRules("a template that is longer than all: {prompt}\nA:", 20, 5)
    found = encode(tokenizer, ["red " * 30, "blue"], [("a",), ("b",)], rules)
    assert found.dropped == {"no room for the prompt": 2}


def test_prompts_alone_leave_room_to_answer(tokenizer):
    rules = EncodingRules(max_length=20, max_response_length=15)
    found = encode(tokenizer, ["red " * 30, "b"], None, rules)
    assert found.prompts.lengths().tolist() == [5, 2]
    assert found.responses == ()
    assert found.changed == {"prompt cut at its start": 1}
    shared = encode(tokenizer, ["red " * 30, "b"], None, replace(rules, response_room=4))
    assert shared.prompts.lengths().tolist() == [16, 2]


def test_long_responses_drop_the_pair_or_are_cut(tokenizer):
    replies = [("a", "loud " * 20), ("b", "c"), ("loud " * 20 + "x", "loud " * 20 + "y")]
    dropping = encode(
        tokenizer, ["p", "q", "r"], replies, EncodingRules(max_length=30, max_response_length=9)
    )
    assert dropping.index.tolist() == [1]
    assert dropping.dropped == {"response too long": 2}
    rules = EncodingRules(max_length=30, max_response_length=9, long_responses="cut")
    cutting = encode(tokenizer, ["p", "q", "r"], replies, rules)
    assert cutting.index.tolist() == [0, 1]
    assert cutting.dropped == {"equal replies once cut": 1}
    assert cutting.changed == {"response cut at its end": 1}
    assert tokenizer.eos_token_id not in cutting.responses[1][0]


def test_a_special_token_s_name_in_a_response_is_plain_text(tokenizer):
    eos = tokenizer.eos_token_id
    found = encode(tokenizer, ["p"], [(f"a{tokenizer.eos_token}b",)], EncodingRules())
    tokens = found.responses[0][0].tolist()
    assert tokens.count(eos) == 1
    assert tokens[-1] == eos
    assert tokenizer.decode(tokens[:-1]) == f"a{tokenizer.eos_token}b"


def test_an_empty_prompt_without_bos_is_dropped(tokenizer):
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.bos_token = None
    found = encode(bare, ["", "a"], [("x",), ("y",)], EncodingRules())
    assert found.dropped == {"prompt without tokens": 1}
    assert found.prompts[0].tolist() == ids(bare, "a")
    bare.eos_token = None
    with pytest.raises(UserError, match="no EOS"):
        encode(bare, ["a"], [("x",)], EncodingRules())


def test_ragged_rows_come_back():
    rows = [[1, 2], [], [3]]
    packed = Ragged.of(rows)
    assert [packed[i].tolist() for i in range(3)] == rows
    assert packed.values.dtype == np.int32
    assert len(Ragged.of([])) == 0
    with pytest.raises(IndexError):
        packed[3]


def test_a_cut_reply_ends_where_ends_are_to_say_nothing(tokenizer):
    long = "the river keeps a slow green light under old stone bridges " * 4
    rules = EncodingRules(max_length=40, max_response_length=12, long_responses="cut", close_cut=True)
    found = encode(tokenizer, ["p", "p", "q"], [(long,), (f"{long}and more",), ("short",)], rules)
    first, second, short = found.responses[0][0], found.responses[0][1], found.responses[0][2]
    assert len(first) == 12
    np.testing.assert_array_equal(first, second)
    assert first[-1] == short[-1] == tokenizer.eos_token_id
    bare = encode(tokenizer, ["p"], [(long,)], replace(rules, close_cut=False)).responses[0][0]
    np.testing.assert_array_equal(first[:-1], bare[:-1])
    assert bare[-1] != tokenizer.eos_token_id


def test_a_reply_that_was_cut_in_sampling_is_not_closed(tokenizer):
    rules = EncodingRules(max_length=40, max_response_length=12, long_responses="drop")
    found = encode(tokenizer, ["p", "p"], [("short",), ("short",)], rules, ended=[True, False])
    whole, cut = (found.responses[0][i].tolist() for i in (0, 1))
    assert whole == [*cut, tokenizer.eos_token_id]
    # As many tokens as are allowed are not too many where no EOS follows them.
    longest = replace(rules, max_response_length=len(cut))
    found = encode(tokenizer, ["p", "p"], [("short",), ("short",)], longest, ended=[True, False])
    assert found.index.tolist() == [1]
    assert found.responses[0][0].tolist() == cut
    assert found.dropped == {"response too long": 1}
    scored = replace(rules, close_cut=True)
    ends = encode(tokenizer, ["p"], [("short",)], scored, ended=[False]).responses[0][0]
    assert ends.tolist() == whole
