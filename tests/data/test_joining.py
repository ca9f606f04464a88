import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lightning_moa.data.encoding import EncodingRules, encode
from lightning_moa.data.joining import tokenise_behind
from lightning_moa.data.tokenizer import train_bpe
from tests.small_tokenizers import finished
from tests.small_tokenizers import sentencepiece as trained_sentencepiece

TEXTS = ["USER: hi there ASSISTANT: sure: (yes) sure sure Sure, so", "Sure of it. so sure"] * 4
TEMPLATE = "USER: {prompt} ASSISTANT:"


def sentencepiece(scheme):
    return trained_sentencepiece(TEXTS, scheme, 140)


def byte_level():
    return train_bpe(TEXTS, 330)


def words(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens([int(i) for i in ids])


@pytest.mark.parametrize("scheme", ["first", "always", "normaliser"])
def test_a_response_is_tokenised_as_it_stands_behind_its_prompt(scheme):
    tokenizer = sentencepiece(scheme)
    found = encode(tokenizer, ["hi there"], [("sure so",)], EncodingRules(TEMPLATE))
    whole = tokenizer("USER: hi there ASSISTANT:sure so", add_special_tokens=False)["input_ids"]
    ids = [*found.prompts[0], *found.responses[0][0]]
    assert ids == [tokenizer.bos_token_id, *whole, tokenizer.eos_token_id]
    # By itself it would begin in a space that is not there.
    assert words(tokenizer, tokenizer("sure so", add_special_tokens=False)["input_ids"])[0].startswith(
        "\u2581"
    )
    assert not words(tokenizer, found.responses[0][0])[0].startswith("\u2581")
    assert not found.changed


def test_of_a_byte_level_tokenizer_one_text_is_as_good_as_two():
    tokenizer = byte_level()
    found = encode(tokenizer, ["hi there"], [("sure so",)], EncodingRules(TEMPLATE))
    assert [*found.responses[0][0][:-1]] == tokenizer("sure so", add_special_tokens=False)["input_ids"]
    assert not found.changed


@pytest.mark.parametrize("make", [byte_level, lambda: sentencepiece("first")])
def test_where_prompt_and_response_would_merge_the_prompt_stays_as_it_is_asked(make):
    """ "ASSISTANT:" and ":) yes" share the token "::" of a tokenizer that has it."""
    tokenizer = merging(make())
    text = "USER: hi ASSISTANT:"
    alone = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = tokenizer(text + ": so", add_special_tokens=False)["input_ids"]
    assert whole[: len(alone)] != alone, "they merge"
    found = encode(tokenizer, ["hi", "hi"], [(": so",), ("so",)], EncodingRules(TEMPLATE))
    assert found.prompts[0].tolist() == found.prompts[1].tolist() == [tokenizer.bos_token_id, *alone]
    assert (
        "".join(words(tokenizer, found.responses[0][0][:-1])).replace("\u2581", " ").replace("\u0120", " ")
        == ": so"
    )
    assert found.changed == {"response tokenised apart from its prompt, with which it would merge": 1}


def merging(tokenizer):
    """The same with a word "::"."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["model"]["vocab"]["::"] = max(state["model"]["vocab"].values()) + 1
    state["model"]["merges"].insert(0, [":", ":"])
    inner = Tokenizer.from_str(json.dumps(state))
    names = {
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
    }
    return PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **names)


def test_words_that_run_together_are_not_taken_for_the_prompt_s():
    """A word-level tokenizer's unknown word ends behind the seam, though it is the same token."""
    inner = Tokenizer(models.WordLevel({"<unk>": 0, "<|pad|>": 1, "yes": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = finished(inner)
    own = [np.array(tokenizer("foo", add_special_tokens=False)["input_ids"], dtype=np.int32)]
    (ids,), apart = tokenise_behind(tokenizer, ["foo"], own, ["yes yes"], True)
    assert ids.tolist() == [2, 2]
    assert apart.tolist() == [True]
