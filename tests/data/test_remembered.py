from copy import deepcopy
from dataclasses import fields, replace

import pytest

from lightning_moa.data import remembered
from lightning_moa.data.encoding import EncodingRules, encode
from lightning_moa.data.remembered import encode_once
from tests.small_tokenizers import byte_level

PROMPTS, REPLIES = ["red {x}", "blue"], [("small", "large round"), ("a", "b" * 30)]
RULES = EncodingRules(template="Q: {prompt}\nA:", max_length=60, max_response_length=12)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(remembered, "_kept", remembered.OrderedDict())


def as_lists(encoded):
    tokens = [[row.tolist() for row in ragged] for ragged in (encoded.prompts, *encoded.responses)]
    return tokens, encoded.index.tolist(), encoded.shown, encoded.dropped, encoded.changed


@pytest.mark.parametrize("replies", [REPLIES, None])
def test_what_is_remembered_is_what_would_be_encoded(tokenizer, replies):
    first = encode_once(tokenizer, PROMPTS, replies, RULES)
    assert as_lists(first) == as_lists(encode(tokenizer, PROMPTS, replies, RULES))
    assert encode_once(deepcopy(tokenizer), list(PROMPTS), replies, replace(RULES)) is first


def test_nothing_else_is_taken_for_it(tokenizer):
    other = deepcopy(tokenizer)
    other.chat_template = "{{ messages }}"
    more = deepcopy(tokenizer)
    more.add_special_tokens({"additional_special_tokens": ["<more>"]})
    asked = [
        (tokenizer, PROMPTS, REPLIES, RULES),
        (other, PROMPTS, REPLIES, RULES),
        (more, PROMPTS, REPLIES, RULES),
        (byte_level(), PROMPTS, REPLIES, RULES),
        (tokenizer, PROMPTS[::-1], REPLIES, RULES),
        (tokenizer, PROMPTS, None, RULES),
        (tokenizer, PROMPTS, REPLIES[::-1], RULES),
        (tokenizer, ["red {x}blue", ""], REPLIES, RULES),
    ]
    changed = {"template": "{prompt}", "max_length": 50, "max_response_length": 5, "response_room": 3}
    changed |= {"long_responses": "cut", "close_cut": True}
    assert set(changed) == {each.name for each in fields(EncodingRules)}
    asked += [
        (tokenizer, PROMPTS, REPLIES, replace(RULES, **{name: value})) for name, value in changed.items()
    ]
    found = [encode_once(*each) for each in asked]
    assert len({id(each) for each in found}) == len(asked)
    for each, was in zip(asked, found, strict=True):
        assert as_lists(was) == as_lists(encode(*each))


def test_no_run_can_change_what_the_next_one_gets(tokenizer):
    encoded = encode_once(tokenizer, PROMPTS, REPLIES, RULES)
    for array in (encoded.index, encoded.prompts.values, encoded.responses[0].offsets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_what_was_asked_for_last_stays_within_the_room(tokenizer, monkeypatch):
    texts = [[f"{word} fox"] for word in ("red", "blue", "green")]
    first, second, third = (encode_once(tokenizer, prompts, None, RULES) for prompts in texts)
    monkeypatch.setattr(remembered, "ROOM", remembered._bytes(third) + remembered._bytes(first))
    assert encode_once(tokenizer, texts[0], None, RULES) is first
    assert encode_once(tokenizer, texts[2], None, RULES) is third
    assert encode_once(tokenizer, texts[1], None, RULES) is not second


def test_texts_beyond_the_room_are_encoded_each_time(tokenizer, monkeypatch):
    monkeypatch.setattr(remembered, "ROOM", sum(map(len, [*PROMPTS, *REPLIES[0], *REPLIES[1]])) - 1)
    first, second = (encode_once(tokenizer, PROMPTS, REPLIES, RULES) for _ in range(2))
    assert first is not second
    assert as_lists(first) == as_lists(second) == as_lists(encode(tokenizer, PROMPTS, REPLIES, RULES))
    assert not remembered._kept
