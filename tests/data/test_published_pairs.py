"""The published sets that are read as one's own files are: pinned, and from a copy of their repository."""

import numpy as np
import pytest

from lightning_moa.data import DATASETS, build
from lightning_moa.data.files import COMMIT
from lightning_moa.data.sizes import published_rows
from lightning_moa.turns import messages_of

from .support import write_lines

SETS = ("helpsteer2", "helpsteer3", "ultrafeedback")


def of(name, path, **options):
    return build(DATASETS[name].config(path=str(path), **options))


def helpsteer2(i):
    ratings = {"helpfulness": 3, "correctness": 3, "coherence": 4, "complexity": 2, "verbosity": 1}
    prompt = f"Question {i}?"
    if i % 2:
        prompt = f"Hi {i}\n<extra_id_1>Assistant\nHello.\n<extra_id_1>User\nQuestion {i}?"
    longer = {"helpfulness": 1, "verbosity": 1 + i % 2}
    return [
        {"prompt": prompt, "response": f"good {i}", **ratings},
        {"prompt": prompt, "response": f"not so good {i}", **ratings, **longer},
    ]


def test_helpsteer2(tmp_path):
    for name, numbers in {"train": range(40), "validation": range(40, 50)}.items():
        write_lines(tmp_path / f"{name}.jsonl", [row for i in numbers for row in helpsteer2(i)])
    write_lines(tmp_path / "preference" / "preference.jsonl", [{"prompt": "not read"}])
    data = of("helpsteer2", tmp_path)
    assert data.objectives == ("helpful", "concise")
    train, held = data.table("train"), data.table("eval")
    assert (len(train), len(held)) == (40, 10)
    best = {pair[int(label)] for pair, label in zip(train.responses, train.labels[:, 0], strict=True)}
    assert best == {f"good {i}" for i in range(40)}
    assert np.isnan(train.labels[:, 1]).sum() == 20, "ties of verbosity"
    assert messages_of(train.prompts[1]) == [
        ("user", "Hi 1"),
        ("assistant", "Hello."),
        ("user", "Question 1?"),
    ]
    assert train.prompts[0] == "Question 0?"


def helpsteer3(i):
    said = [{"role": "user", "content": f"Question {i}?"}]
    return {
        "domain": "general",
        "language": "english",
        "context": said if i % 2 else [*said, {"role": "assistant", "content": "What?"}, *said],
        "response1": f"one {i}",
        "response2": f"other {i}",
        "overall_preference": (-3, 2, 0, 1)[i % 4],
        "individual_preference": [{"score": 1}],
    }


def test_helpsteer3(tmp_path):
    write_lines(tmp_path / "preference" / "train.jsonl", map(helpsteer3, range(40)))
    write_lines(tmp_path / "preference" / "validation.jsonl", map(helpsteer3, range(40, 60)))
    write_lines(tmp_path / "edit" / "train.jsonl", [{"edited": "not read"}])
    data = of("helpsteer3", tmp_path)
    table = data.table("train")
    np.testing.assert_array_equal(table.labels[:4, 0], [0, 1, np.nan, 1])
    assert len(messages_of(table.prompts[0])) == 3
    assert data.report.notes[-1].startswith("overall_preference: strengths")


def test_weak_preferences_of_helpsteer3_are_strengths_too(tmp_path):
    rows = [{**helpsteer3(i), "overall_preference": i % 3 - 1} for i in range(60)]
    path = write_lines(tmp_path / "train.jsonl", rows)
    data = of("helpsteer3", path, labels={"preferred": "overall_preference"})
    tables = [data.table(split) for split in ("train", "eval")]
    best = {
        pair[int(label)].split()[0]: int(pair[0].split()[1]) % 3
        for table in tables
        for pair, (label,) in zip(table.responses, table.labels, strict=True)
    }
    assert best == {"one": 0, "other": 2}


def test_ultrafeedback(tmp_path):
    def completion(i, score):
        names = ("instruction_following", "honesty", "truthfulness", "helpfulness")
        given = {name: {"Rating": str(score), "Rationale": "so"} for name in names}
        return {"annotations": given, "response": f"answer {i} of {score}", "overall_score": score}

    rows = [
        {"instruction": f"Do {i}.", "completions": [completion(i, score) for score in (1, 4, 3, 5)]}
        for i in range(40)
    ]
    write_lines(tmp_path / "sharegpt.jsonl", rows)
    write_lines(
        tmp_path / "truthful_qa.jsonl", [{**row, "instruction": f"2 {row['instruction']}"} for row in rows]
    )
    data = of("ultrafeedback", tmp_path)
    assert sum(len(data.table(split)) for split in ("train", "eval")) == 80 * 6
    few = of("ultrafeedback", tmp_path, pairs_per_prompt=2)
    assert sum(len(few.table(split)) for split in ("train", "eval")) == 80 * 2
    assert set(few.table("eval").prompts) == set(data.table("eval").prompts)


@pytest.mark.parametrize("name", SETS)
def test_they_are_pinned_and_their_sizes_known(name, monkeypatch):
    import datasets

    config = DATASETS[name].config()
    assert COMMIT.fullmatch(config.revision)
    config.check_rows(("a",))
    asked = {}

    def load(hub_id, **options):
        asked.update(options, hub_id=hub_id)
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(Exception, match="could not be read from the hub"):
        build(config).table("train")
    assert asked["revision"] == config.revision
    assert asked["name"] == ("preference" if name == "helpsteer3" else None)
    few = published_rows({**vars(config), "pairs_per_prompt": 1}, "pairs")
    assert few == published_rows(vars(config), "prompts") <= published_rows(vars(config), "pairs")
