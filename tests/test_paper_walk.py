"""`scale=paper` walked through without weights: the texts, tokens, masks, lengths and evaluation rows of real rows.

One artefact of each paper. Plans, data modules, measurements and reward models' inputs are the package's own; in the
models' place stand tokenizers of their form that are made here. All is held to Safe-RLHF's form as it is written
out below: prompt and response tokenised as one text behind BOS, closed by EOS, in at most 512 tokens.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch

from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import ScoredRows
from lightning_moa.data.tokenizer import train_bpe
from lightning_moa.figures.prompts import prompt_sets
from lightning_moa.policies import RewardPrompt
from lightning_moa.policies.settings import RiCConfig
from lightning_moa.rewards.table import hub_model
from lightning_moa.rewards.tokens import InputEncoder
from lightning_moa.runs.loading import load_data
from lightning_moa.runs.measuring import Measure
from lightning_moa.runs.rows import _drawn
from lightning_moa.study.planning import plan_study
from lightning_moa.turns import messages_of, readable
from tests.declared import EXPERIMENTS, study_of
from tests.small_tokenizers import sentencepiece

SAFE_RLHF = ("BEGINNING OF CONVERSATION: USER: ", " ASSISTANT:")
HAM = ("", "")
SUMMARY = ("### Instruction: Generate a one-sentence summary of this post. ### Input: ", " ### Response: ")
MAX_LENGTH, ROWS = 512, 50


# What is held to: nothing of the package


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def form(tokenizer, around, prompt, response):
    """Tokens of a prompt that is asked, and of prompt and response as one text."""
    text = around[0] + prompt + around[1]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return [bos, *ids(tokenizer, text)], [bos, *ids(tokenizer, text + response), eos]


def merges(tokenizer, around, prompt, response):
    """Whether the prompt's last token and the response's first are one where they are tokenised together."""
    asked, whole = form(tokenizer, around, prompt, response)
    return whole[: len(asked)] != asked


# Real rows, and tokenizers of the models' form


@pytest.fixture(scope="module")
def hh(shared_data):
    return shared_data / "hh-rlhf" / "harmless-base-test.jsonl.gz"


@pytest.fixture(scope="module")
def pku(shared_data):
    return shared_data / "pku-saferlhf" / "preference-32.json"


@pytest.fixture(scope="module")
def summaries(shared_data, tmp_path_factory):
    """Comparisons of real posts; a post's second summary is the next one's, as there is but one of each."""
    found = json.loads(
        (shared_data / "summarize-from-feedback" / "tldr-posts-with-model-summaries.json").read_text()
    )
    posts, texts = (list(found[key].values()) for key in ("question", "response"))
    path = tmp_path_factory.mktemp("posts") / "comparisons.jsonl"
    lines = [
        {
            "info": {
                "id": str(i),
                "post": post.removeprefix("POST: "),
                "title": f"post {i}",
                "subreddit": "test",
            },
            "summaries": [{"text": text} for text in (texts[i], texts[i - 1])],
            "choice": 0,
        }
        for i, post in enumerate(posts)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def texts(hh, pku):
    import gzip

    with gzip.open(hh, "rt", encoding="utf-8") as lines:
        dialogues = [json.loads(line)["chosen"] for line, _ in zip(lines, range(300), strict=False)]
    return [*dialogues, *(row["response_0"] for row in json.loads(pku.read_text()))]


@pytest.fixture(scope="module", params=["llama", "llama, earlier", "byte level"])
def tokenizer(request, texts):
    if request.param == "byte level":
        return train_bpe(texts, 1500)
    scheme = "first" if request.param == "llama" else "normaliser"
    alphabet = ["".join(chr(i) for i in range(32, 127))]
    return sentencepiece([*texts, *alphabet], scheme, 1500)


@cache
def planned(script, *words, prompts=None):
    """The first study of a script's as it is planned, measured on a named set of prompts where it has several."""
    study = study_of(EXPERIMENTS / script)
    _, config, chosen = study.parts_of(*study.read(["scale=paper", *words]))[0]
    asked = None if prompts is None else prompt_sets(config)[prompts]
    return next(iter(plan_study(config, chosen, asked).seeds.values()))


def measured(spec, tokenizer):
    """What measures a method's policies, without a policy."""
    made = Measure.__new__(Measure)
    made.spec, made.tokenizer, made.device, made.ref_logps = (
        spec["evaluation"],
        tokenizer,
        torch.device("cpu"),
        None,
    )
    made.data = load_data(spec)
    made.prompts = made.data
    if spec["prompts"] is not None:
        made.prompts = load_data(spec | {"data": spec["prompts"], "data_class": spec["prompts_class"]})
    return made


def asked(batch):
    """(tokens, prompt as text, room) of each prompt of a batch."""
    for row, mask, prompt, room in zip(
        batch.input_ids, batch.attention_mask, batch.prompts, batch.room, strict=True
    ):
        yield row[mask].tolist(), prompt, int(room)


def check_prompts(batches, tokenizer, around, whole, room):
    """Every prompt stands in its whole template, is the end of a real one, and leaves its room. How many were cut."""
    cut = count = 0
    for batch in batches:
        assert batch.attention_mask[:, -1].all(), "padded on the left"
        for tokens, prompt, left in asked(batch):
            assert tokens == form(tokenizer, around, prompt, "")[0]
            assert left == MAX_LENGTH - len(tokens) >= room
            count += 1
            if prompt not in whole:
                cut += 1
                assert any(each.endswith(prompt) for each in whole)
                assert left <= room + 8, "no more is cut than has to be"
    assert count
    return cut


def sequences(batch, tokenizer, around, rows):
    """Every row is a real one in Safe-RLHF's form, or, where tokens would merge, the prompt as it is asked and the
    response's own text. How many of these there are."""
    apart = 0
    for (prompt, response), tokens, mask, of_response in zip(
        rows, batch.input_ids, batch.attention_mask, batch.response_mask, strict=True
    ):
        own = tokens[mask].tolist()
        start, whole = form(tokenizer, around, prompt, response)
        assert of_response.tolist() == [False] * len(start) + [True] * (len(own) - len(start)) + [
            False
        ] * int((~mask).sum())
        assert len(own) <= MAX_LENGTH
        if merges(tokenizer, around, prompt, response):
            apart += 1
            assert own[: len(start)] == start
            assert (
                tokenizer.decode(own[len(start) : -1]).strip()
                == tokenizer.decode(ids(tokenizer, response)).strip()
            )
        else:
            assert own == whole
    return apart


def scored(tokenizer, model, prompt, response):
    """The tokens that a published reward model reads."""
    encoder = InputEncoder(tokenizer, hub_model(model).form, 2048, Counter())
    return [token.id for token in encoder.encode(prompt, response)]


def turn_by_turn(dialogue, eos):
    """A dialogue of hh-rlhf's, which may have lost its start, as Safe-RLHF's models were trained."""
    said, last = dialogue.strip().removesuffix("Assistant:").strip(), ""
    for turn in re.split(r"(?:^|\n\n)Human:", said):
        user, *answers = turn.split("\n\nAssistant:")
        if user.strip():
            last += f"USER: {user.strip()} ASSISTANT:" + "".join(f"{each.strip()}{eos}" for each in answers)
    return f"BEGINNING OF CONVERSATION: {last}"


def is_end_of(shown, real):
    """Whether a conversation is the end of another, whose oldest turns and the beginning of a first one may be gone."""
    mine, whole = messages_of(shown), messages_of(real)
    there = whole[len(whole) - len(mine) :]
    return len(mine) <= len(whole) and mine[1:] == there[1:] and there[0][1].endswith(mine[0][1])


# Panacea, Figure 5


def test_panaceas_pairs(tokenizer, pku):
    seed = planned("panacea/figure5.py", f"data.path={pku}", "methods=[panacea_ls]")
    data = load_data(seed.policies["panacea_ls"][0].spec)
    for split in ("train", "eval"):
        apart, table = 0, data.table(split)
        encoded = data.encoded(tokenizer, split, "pairs")
        for batch in data.batches(tokenizer, split, "pairs", 8):
            rows = [int(i) for i in batch.index]
            shown = dict(zip(encoded.index.tolist(), encoded.shown, strict=True))
            both = [(shown[i], table.responses[i][side]) for side in (0, 1) for i in rows]
            apart += sequences(batch, tokenizer, SAFE_RLHF, both)
            assert batch.labels.tolist() == table.labels[rows].tolist()
        assert apart == encoded.changed["response tokenised apart from its prompt, with which it would merge"]
    made = measured(seed.evaluations["panacea_ls"].spec, tokenizer)
    rows = [int(i) for batch in made._pairs(11) for i in batch.index]
    assert rows == data.encoded(tokenizer, "eval", "pairs").index.tolist()


# GAPO, the main table


def test_gapos_prompts_and_what_scores_them(tokenizer, pku, hh):
    # The file has Mistral's EOS.
    turn = "USER: {prompt} ASSISTANT:"
    template = f"BEGINNING OF CONVERSATION: {turn}{{reply}}{tokenizer.eos_token}{turn}"
    words = [f"data.path={pku}", f"evaluation.prompt_sets.hh.path={hh}", f"evaluation.prompts={ROWS}"]
    words.append(f"evaluation.prompt_sets.hh.template='{template}'")
    seed = planned("gapo/table_main.py", *words, "methods=[gapo_p1]", prompts="hh")
    made = measured(seed.evaluations["gapo_p1"].spec, tokenizer)
    real, batches = made.prompts.prompt_list("eval"), list(made._prompts(1))
    shown = [prompt for batch in batches for prompt in batch.prompts]
    assert len(shown) == ROWS
    assert all(map(is_end_of, shown, real)), "the first of the order"
    for batch in batches:
        for tokens, prompt, left in asked(batch):
            text = turn_by_turn(readable(prompt), tokenizer.eos_token)
            assert tokens == [tokenizer.bos_token_id, *ids(tokenizer, text)]
            assert left == MAX_LENGTH - len(tokens) >= 128
    assert sum(each not in real for each in shown) < ROWS / 4
    for prompt in shown[:10]:
        for model in ("PKU-Alignment/beaver-7b-v1.0-reward", "PKU-Alignment/beaver-7b-v1.0-cost"):
            read = scored(tokenizer, model, prompt, "Sure, I can.")
            text = turn_by_turn(readable(prompt), tokenizer.eos_token) + "Sure, I can."
            assert read == [tokenizer.bos_token_id, *ids(tokenizer, text), tokenizer.eos_token_id]


# HaM, Figures 3 and 5


@pytest.mark.parametrize(("script", "around"), [("ham/figure3.py", HAM), ("ham/figure5.py", SUMMARY)])
def test_hams_rows_and_prompts(script, around, tokenizer, request):
    path = request.getfixturevalue("hh" if around is HAM else "summaries")
    seed = planned(script, f"data.path={path}", f"evaluation.prompts={ROWS}", f"likelihood.rows={ROWS}")
    spec = seed.policies["ham"][0].needs["rows"].spec
    data = load_data(spec)
    frame, _, _ = _drawn(spec, data, tokenizer)
    assert len(frame) == ROWS
    real = list(zip(*data.sft_rows("train"), strict=True))
    for shown, response in zip(frame["prompt"], frame["response"], strict=True):
        assert any(prompt.endswith(shown) for prompt, reply in real if reply == response)
    rewards = {f"reward_{name}": np.full(ROWS, 0.5) for name in data.objectives}
    rules = EncodingRules.of(data.config)
    rows = ScoredRows(frame.assign(**rewards), data.objectives, rules)
    batches = list(rows.batches(tokenizer, 8))
    texts = list(zip(frame["prompt"], frame["response"], strict=True))
    apart = sum(
        sequences(batch, tokenizer, around, texts[8 * i : 8 * i + 8]) for i, batch in enumerate(batches)
    )
    assert apart == sum(merges(tokenizer, around, *text) for text in texts)
    made = measured(seed.evaluations["ham"].spec, tokenizer)
    real, room = set(made.prompts.prompt_list("eval")), rules.room
    assert room == made.spec["max_new_tokens"]
    check_prompts(made._prompts(1), tokenizer, around, real, room)
    goals = RewardPrompt.of(RiCConfig(), data.objectives, [0.0, 0.0], [1.0, 1.0])
    for asking, plain in made._rewritten(lambda prompt: goals.insert(prompt, [1.0, 0.3])):
        assert asking.prompts == plain.prompts
        assert asking.index.tolist() == plain.index.tolist()
        for (tokens, prompt, left), (bare, _, _) in zip(asked(asking), asked(plain), strict=True):
            assert tokens == form(tokenizer, around, goals.insert(prompt, [1.0, 0.3]), "")[0]
            assert bare == form(tokenizer, around, prompt, "")[0]
            assert left >= room
            assert any(each.endswith(prompt) for each in real)
