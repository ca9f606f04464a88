import gzip
import json
import shutil
from collections import Counter

import numpy as np
import pytest

from lightning_moa.data.configs import HHRLHFConfig
from lightning_moa.data.files import read_local
from lightning_moa.data.hh_rlhf import HHRLHF, parse
from lightning_moa.errors import UserError
from lightning_moa.turns import messages_of, readable

from .support import write_lines


def dialogue(*turns):
    return "".join(f"\n\n{'Assistant' if i % 2 else 'Human'}: {turn}" for i, turn in enumerate(turns))


def row(chosen, rejected, ask="hello"):
    return {"chosen": dialogue(ask, chosen), "rejected": dialogue(ask, rejected)}


def texts_of(table, name="human"):
    """{prompt: (better, worse)} by a label column."""
    column = table.objectives.index(name)
    return {
        prompt: (pair[int(label)], pair[1 - int(label)])
        for prompt, pair, label in zip(table.prompts, table.responses, table.labels[:, column], strict=True)
    }


@pytest.fixture(scope="module")
def real(shared_data):
    path = shared_data / "hh-rlhf" / "harmless-base-test.jsonl.gz"
    labels = {"human": "human", "concise": "shorter"}
    data = HHRLHF(HHRLHFConfig(path=str(path), labels=labels))
    data.table("train")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return data, [json.loads(line) for line in lines]


def test_counts_on_the_real_rows(real):
    data, rows = real
    assert len(rows) == 2312
    report = data.report
    dropped = sum(report.dropped.values(), start=type(report.kept)())
    assert dropped == {"prompts differ": 5, "empty reply": 4}
    assert report.kept.total() == 2312 - 9
    assert 0.08 < report.kept["eval"] / 2303 < 0.12


def test_real_prompts_and_replies_make_up_the_file_s_dialogues(real):
    data, rows = real
    dialogues = {(row["chosen"], row["rejected"]) for row in rows}
    whole = {(chosen.strip(), rejected.strip()) for chosen, rejected in dialogues}
    for split in ("train", "eval"):
        table = data.table(split)
        column = table.labels[:, 0]
        for prompt, pair, label in zip(table.prompts, table.responses, column, strict=True):
            assert prompt.endswith("\n\nAssistant:")
            better, worse = pair[int(label)], pair[1 - int(label)]
            assert (f"{prompt} {better}".strip(), f"{prompt} {worse}".strip()) in whole or any(
                chosen.startswith(prompt) and chosen.endswith(better) and rejected.endswith(worse)
                for chosen, rejected in dialogues
            )


def test_the_index_gives_no_hint_of_the_label(real):
    table = real[0].table("train")
    assert 0.45 < table.labels[:, 0].mean() < 0.55
    lengths = np.array([[len(text) for text in pair] for pair in table.responses])
    np.testing.assert_array_equal(table.labels[:, 1] == 1, lengths[:, 1] < lengths[:, 0])
    assert (np.isnan(table.labels[:, 1]) == (lengths[:, 0] == lengths[:, 1])).all()


def test_real_duplicated_prompts_are_on_one_side(real):
    data, _ = real
    prompts = data.table("train").prompts + data.table("eval").prompts
    assert len(prompts) - len(set(prompts)) >= 1
    assert not set(data.prompt_list("train")) & set(data.prompt_list("eval"))


def test_each_side_is_cut_at_its_own_last_marker(tmp_path):
    long = dialogue("hello", "first", "more", "last")
    path = write_lines(
        tmp_path / "rows.jsonl",
        [
            {"chosen": long, "rejected": dialogue("hello", "other")},
            {"chosen": dialogue("ask", "say\n\nAssistant: inline"), "rejected": dialogue("ask", "say")},
            {"chosen": "\n\nHuman: no answer", "rejected": "\n\nHuman: no answer"},
            row("good", "bad"),
            row("same", "same ", "why"),
        ],
    )
    found = parse(read_local(path)["train"])
    assert found.reasons == ["prompts differ", "prompts differ", "no Assistant turn", None, "equal replies"]
    assert found.prompts[0] == dialogue("hello", "first", "more") + "\n\nAssistant:"
    assert set(found.responses[3]) == {"good", "bad"}
    assert found.responses[3][found.labels["human"].iloc[3]] == "good"


def test_a_copy_of_the_repository_gives_the_named_subsets(tmp_path):
    for subset in ("harmless-base", "helpful-base"):
        write_lines(
            tmp_path / subset / "train.jsonl",
            [row(f"{subset} {i}", "no", f"{subset} ask {i}") for i in range(3)],
        )
        write_lines(tmp_path / subset / "test.jsonl", [row("yes", "no", f"{subset} test")])
    write_lines(tmp_path / "red-team-attempts" / "train.jsonl", [{"transcript": "x"}])
    one = HHRLHF(HHRLHFConfig(path=str(tmp_path)))
    assert len(one.table("train")) == 3
    both = HHRLHF(HHRLHFConfig(path=str(tmp_path), subsets=["helpful-base", "harmless-base"]), ["harmless"])
    assert len(both.table("train")) == 6
    assert len(both.table("eval")) == 2
    assert all(better != "no" for better, _ in texts_of(both.table("train"), "harmless").values())
    inside = HHRLHF(HHRLHFConfig(path=str(tmp_path / "helpful-base")))
    assert len(inside.table("train")) == 3
    shutil.rmtree(tmp_path / "harmless-base")
    absent = HHRLHF(HHRLHFConfig(path=str(tmp_path)))
    with pytest.raises(UserError, match="has no folder harmless-base"):
        absent.table("train")


def test_the_first_to_be_evaluated_on_are_of_every_subset(tmp_path):
    sizes = {"harmless-base": 40, "helpful-base": 20, "helpful-online": 20}
    for subset, size in sizes.items():
        for split in ("train", "test"):
            lines = [row("yes", f"no {i}", f"{subset} {split} {i}") for i in range(size)]
            write_lines(tmp_path / subset / f"{split}.jsonl", lines)
    data = HHRLHF(HHRLHFConfig(path=str(tmp_path), subsets=list(sizes)), ["harmless"])
    for texts in (data.prompt_list("eval"), data.table("eval").prompts):
        first = Counter(text.split()[1] for text in texts[:20])
        assert first == {"harmless-base": 10, "helpful-base": 5, "helpful-online": 5}
        assert texts != sorted(texts)
    found = data.report.lines()[0]
    assert found == "eval: 80 pairs kept, 0 dropped; of harmless-base 40, helpful-base 20, helpful-online 20"
    limited = HHRLHF(HHRLHFConfig(path=str(tmp_path), subsets=list(sizes), limit=8), ["harmless"])
    assert limited.report.subsets == {}
    limited.table("train")
    assert dict(limited.report.subsets["train"]) == {
        "harmless-base": 4,
        "helpful-base": 2,
        "helpful-online": 2,
    }


def test_training_prompts_of_the_test_split_are_dropped(tmp_path):
    write_lines(tmp_path / "train.jsonl", [row("a", "b", "shared"), row("a", "b", "own")])
    write_lines(tmp_path / "test.jsonl", [row("c", "d", "shared")])
    data = HHRLHF(HHRLHFConfig(path=str(tmp_path)))
    assert data.table("train").prompts == [dialogue("own") + "\n\nAssistant:"]
    assert data.report.dropped["train"] == {"prompt also in the evaluation split": 1}


@pytest.mark.parametrize(
    ("subsets", "words"),
    [
        (["red-team-attempts"], "transcripts, not comparisons"),
        (["harmless"], "'harmless' is not known; allowed are harmless-base"),
        ([], "is empty"),
    ],
)
def test_other_subsets_are_refused(subsets, words):
    with pytest.raises(UserError, match=words):
        HHRLHF(HHRLHFConfig(path="x", subsets=subsets)).table("train")


def test_the_hub_is_asked_for_each_subset(monkeypatch):
    import pandas as pd

    asked = []

    def read(hub_id, revision, splits, *, data_dir):
        asked.append((hub_id, revision, data_dir))
        frame = pd.DataFrame([row("yes", "no", f"{data_dir} {side}") for side in splits])
        frame.index = pd.MultiIndex.from_product([[data_dir], [1, 2]])
        return {"train": frame.iloc[:1], "eval": frame.iloc[1:]}

    monkeypatch.setattr("lightning_moa.data.hh_rlhf.read_hub", read)
    config = HHRLHFConfig(subsets=["harmless-base", "helpful-online"])
    assert len(HHRLHF(config).table("train")) == 2
    assert [name for _, _, name in asked] == ["harmless-base", "helpful-online"]
    assert {(hub_id, revision) for hub_id, revision, _ in asked} == {("Anthropic/hh-rlhf", config.revision)}


def test_what_people_chose_holds_for_what_they_were_asked(tmp_path):
    for subset in ("harmless-base", "helpful-base"):
        rows = [
            {
                "chosen": f"\n\nHuman: {subset} {i}\n\nAssistant: yes",
                "rejected": f"\n\nHuman: {subset} {i}\n\nAssistant: no",
            }
            for i in range(30)
        ]
        write_lines(tmp_path / subset / "train.jsonl", rows)
    labels = {"harmless": "harmless", "helpful": "helpful", "human": "human"}
    config = HHRLHFConfig(path=str(tmp_path), labels=labels, subsets=["harmless-base", "helpful-base"])
    table = HHRLHF(config).table("train")
    harmless = np.array(["harmless" in prompt for prompt in table.prompts])
    assert (np.isnan(table.labels[:, 0]) == ~harmless).all()
    assert (np.isnan(table.labels[:, 1]) == harmless).all()
    known = np.where(harmless, table.labels[:, 0], table.labels[:, 1])
    np.testing.assert_array_equal(known, table.labels[:, 2])
    (tmp_path / "helpful-base").rename(tmp_path / "mine")
    one = HHRLHFConfig(path=str(tmp_path / "mine"), labels=labels, subsets=["harmless-base", "helpful-base"])
    with pytest.raises(UserError, match="available are human, shorter"):
        HHRLHF(one).table("train")


@pytest.mark.parametrize("name", ["helpful-base/train.jsonl", "helpful-base", "helpful-base-train.jsonl"])
def test_a_path_that_names_a_subset_is_of_that_one(tmp_path, name):
    path = tmp_path / name
    write_lines(path if path.suffix else path / "a.jsonl", [row("yes", "no", f"ask {i}") for i in range(30)])
    labels = {"harmless": "harmless", "helpful": "helpful"}
    data = HHRLHF(HHRLHFConfig(path=str(path), labels=labels))
    found = data.table("train").labels
    assert np.isnan(found[:, 0]).all()
    assert not np.isnan(found[:, 1]).any()
    assert set(data.report.subsets["train"]) == {"helpful-base"}
    with pytest.raises(
        UserError, match=r"is of helpful-base, and data\.subsets names helpful-online: allowed is"
    ):
        HHRLHF(HHRLHFConfig(path=str(path), labels=labels, subsets=["helpful-online"])).table("train")


def test_with_a_chat_template_a_dialogue_s_turns_are_messages(tmp_path):
    talk = "\n\nHuman: hi {}\n\nAssistant: yes?\n\nHuman: how?\n\nAssistant:"
    rows = [{"chosen": talk.format(i) + " so", "rejected": talk.format(i) + " no"} for i in range(30)]
    path = write_lines(tmp_path / "a.jsonl", rows)
    plain = HHRLHF(HHRLHFConfig(path=str(path))).table("train")
    chat = HHRLHF(HHRLHFConfig(path=str(path), template="chat")).table("train")
    assert [readable(prompt) for prompt in chat.prompts] == plain.prompts
    assert messages_of(chat.prompts[0])[1:] == [("assistant", "yes?"), ("user", "how?")]
    assert chat.responses == plain.responses
