import json
import subprocess
import sys

import numpy as np
import pytest

from lightning_moa.data.configs import PairsConfig
from lightning_moa.errors import UserError

from .support import pair_rows, pairs_of, write_lines


def test_the_real_pairs_keep_their_labels(shared_data):
    path = shared_data / "helpsteer2" / "pairs.jsonl"
    labels = {
        "helpful": "helpfulness_better_id",
        "concise": "-verbosity_better_id",
        "verbose": "verbosity_better_id",
    }
    data = pairs_of(path, labels=labels)
    rows = {row["prompt"]: row for row in map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1])}
    tables = [data.table("train"), data.table("eval")]
    assert sum(map(len, tables)) == len(rows) == 639
    for table in tables:
        for prompt, pair, found in zip(table.prompts, table.responses, table.labels, strict=True):
            row = rows[prompt]
            assert pair == (row["response_0"], row["response_1"])
            helpful, verbose = row["helpfulness_better_id"], row["verbosity_better_id"]
            assert found.tolist() == [helpful, 1 - verbose, verbose]
    assert 50 <= len(tables[1]) <= 78


def test_absent_real_labels_are_unknown(shared_data):
    path = shared_data / "helpsteer2" / "pairs.jsonl"
    labels = {"helpful": "helpfulness_better_id", "coherent": "coherence_better_id"}
    both = pairs_of(path, labels=labels)
    given = path.read_text(encoding="utf-8").count('"coherence_better_id"')
    tables = [both.table("train"), both.table("eval")]
    assert sum(len(table) for table in tables) == 639
    assert sum(np.isfinite(table.labels[:, 1]).sum() for table in tables) == given
    whole = pairs_of(path, labels=labels, complete=True)
    kept = [whole.table("train"), whole.table("eval")]
    assert sum(map(len, kept)) == given
    assert sum(count["a label is missing"] for count in whole.report.dropped.values()) == 639 - given
    assert set(kept[1].prompts) < set(tables[1].prompts), "the split stays as it is"
    assert all(np.isfinite(table.labels).all() for table in kept)
    one = pairs_of(path, labels={"coherent": "coherence_better_id"})
    assert sum(len(one.table(split)) for split in ("train", "eval")) == given
    assert sum(count["no label"] for count in one.report.dropped.values()) == 639 - given


def test_own_columns_and_csv(tmp_path):
    import pandas as pd

    rows = [{"q": f"NA {i}", "x": "01", "y": "null text", "won": ["0", "true", ""][i % 3]} for i in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    options = {"prompt_column": "q", "response_columns": ["y", "x"], "labels": {"won": "won"}}
    data = pairs_of(tmp_path / "mine.csv", **options)
    table = data.table("train")
    assert set(table.responses) == {("null text", "01")}
    assert all(prompt.startswith("NA ") for prompt in table.prompts)
    assert set(table.labels[:, 0]) == {0.0, 1.0}
    assert data.report.dropped["train"]["no label"] > 0


def test_wrong_values_and_columns(tmp_path):
    rows = pair_rows(20)
    rows[6]["good"] = 3
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"rows\.jsonl, row 7, column 'good': allowed are .*; got 3"):
        pairs_of(path).table("train")
    assert len(pairs_of(path, labels={"brief": "shorter"}).table("train")) > 0, "only used columns are read"
    with pytest.raises(UserError, match=r"data\.labels\.a=nice: .*available are good, kind, shorter"):
        pairs_of(path, labels={"a": "-nice"}).table("train")
    with pytest.raises(UserError, match="no column 'question'; it has prompt, response_0"):
        pairs_of(path, prompt_column="question").table("train")
    own = write_lines(tmp_path / "own.jsonl", [{**row, "shorter": 0} for row in pair_rows(20)])
    with pytest.raises(UserError, match=r"'shorter' is a column of the data, .*fewer characters"):
        pairs_of(own, labels={"brief": "shorter"}).table("train")
    renamed = [{"q": row.pop("prompt"), **row} for row in pair_rows(20)]
    with pytest.raises(UserError, match=r"no column 'prompt'; it has q, .*; data\.prompt_column="):
        pairs_of(write_lines(tmp_path / "q.jsonl", renamed)).table("train")
    with pytest.raises(UserError, match="must name two columns"):
        pairs_of(path, response_columns=["response_0"]).table("train")
    with pytest.raises(UserError, match=r"data\.scores\.a must name two different columns"):
        pairs_of(path, scores={"a": ["kind", "kind"]}).table("train")


@pytest.mark.parametrize(("labelled", "split"), [([], "train"), ([0], "eval")])
def test_an_objective_that_a_split_has_no_label_of_is_refused_before_training(tmp_path, labelled, split):
    rows = [{**row, "good": i % 2 if i in labelled else None} for i, row in enumerate(pair_rows(20))]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    config = PairsConfig(path=str(path), labels={"good": "good", "kind": "kind"}, eval_fraction=0.25)
    said = rf"^good: none of the \d+ {split} pairs has a label; more pairs, or another data\.eval_fraction"
    with pytest.raises(UserError, match=said):
        config.check_rows(("good", "kind"))


def test_path_and_labels_are_needed(tmp_path):
    from lightning_moa.data.pairs import Pairs

    with pytest.raises(UserError, match=r"data\.labels is empty"):
        Pairs(PairsConfig(path="x"))
    with pytest.raises(UserError, match=r"data\.path is empty"):
        Pairs(PairsConfig(labels={"a": "x"})).table("train")


def test_a_mistake_is_found_without_torch_by_the_code_that_a_worker_uses(tmp_path):
    rows = pair_rows(40)
    rows[0]["good"] = "left"
    path = write_lines(tmp_path / "a.jsonl", rows)
    program = (
        "import sys\n"
        "from lightning_moa.data.configs import PairsConfig\n"
        "from lightning_moa.errors import UserError\n"
        f"config = PairsConfig(path={str(path)!r}, labels={{'good': 'good'}})\n"
        "try:\n    config.check_rows(('good',))\n"
        "except UserError as error:\n    print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    line, torch = done.stdout.splitlines()
    assert line.startswith("a.jsonl, row 1, column 'good': allowed are 0, 1,")
    assert line.endswith("got 'left'")
    assert torch == "False"
    with pytest.raises(UserError, match="row 1, column 'good'"):
        pairs_of(path, labels={"good": "good"}).table("train")
