import json

import numpy as np
import pandas as pd
import pytest

from lightning_moa.data.configs import PKUSafeRLHFConfig
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.pku_saferlhf import LABELS, SAFE, PKUSafeRLHF
from lightning_moa.errors import UserError

from .support import write_lines


def row(i, better, safer, safe_0=True, safe_1=True, **more):
    return {
        "prompt": f"prompt {i}",
        "response_0": "a",
        "response_1": "bb",
        "is_response_0_safe": safe_0,
        "is_response_1_safe": safe_1,
        "better_response_id": better,
        "safer_response_id": safer,
        **more,
    }


def test_the_real_rows_keep_their_labels(shared_data):
    path = shared_data / "pku-saferlhf" / "preference-32.json"
    data = PKUSafeRLHF(PKUSafeRLHFConfig(path=str(path)))
    rows = {(row["prompt"], row["response_0"]): row for row in json.loads(path.read_text())}
    tables = [data.table("train"), data.table("eval")]
    assert sum(map(len, tables)) == len(rows) == 32
    assert data.report.dropped == {}
    for table in tables:
        for prompt, pair, labels in zip(table.prompts, table.responses, table.labels, strict=True):
            source = rows[prompt, pair[0]]
            assert pair[1] == source["response_1"]
            assert labels.tolist() == [source["better_response_id"], source["safer_response_id"]]
    assert not set(tables[0].prompts) & set(tables[1].prompts)


def test_a_real_conflict_row_is_kept(shared_data):
    path = shared_data / "pku-saferlhf" / "preference-32.json"
    table = PKUSafeRLHF(PKUSafeRLHFConfig(path=str(path))).table("train")
    assert (table.labels[:, 0] != table.labels[:, 1]).any()


def test_contradictions_and_equal_replies_are_dropped(tmp_path):
    rows = [
        row(0, 0, 0, safe_0=False, safe_1=True),
        row(1, 0, 1, safe_0=False, safe_1=True),
        row(2, 0, 0, safe_0=False, safe_1=False),
        row(3, 1, 1, safe_0=True, safe_1=False),
        row(4, 1, 1, response_1="a"),
        row(5, 1, 0, response_1=""),
    ]
    write_lines(tmp_path / "train.jsonl", rows)
    write_lines(tmp_path / "test.jsonl", [row(9, 0, 1)])
    data = PKUSafeRLHF(PKUSafeRLHFConfig(path=str(tmp_path)))
    assert data.table("train").prompts == ["prompt 1", "prompt 2"]
    assert data.report.dropped["train"] == {
        "safer label contradicts the safety flags": 2,
        "equal replies": 1,
        "empty reply": 1,
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_flags_are_compared_in_every_format(tmp_path, suffix):
    rows = [row(i, 0, i % 2, safe_0=i % 4 < 2, safe_1=i % 3 == 0) for i in range(60)]
    frame, path = pd.DataFrame(rows), tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        write_lines(path, rows)
    else:
        frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    data = PKUSafeRLHF(PKUSafeRLHFConfig(path=str(path), eval_fraction=0.3))
    data.table("train")
    wrong = [
        each
        for each in rows
        if (each[SAFE[0]], each[SAFE[1]]) == (bool(each[LABELS[1]]), not each[LABELS[1]])
    ]
    assert len(wrong) == 15
    dropped = sum(data.report.dropped.values(), type(data.report.kept)())
    assert dropped == {"safer label contradicts the safety flags": len(wrong)}


def test_flags_that_are_none_are_named(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [row(0, 0, 0), row(1, 0, 0, safe_1="perhaps")])
    with pytest.raises(UserError, match=r"rows\.jsonl, row 2, column 'is_response_1_safe': allowed are 0, 1"):
        PKUSafeRLHF(PKUSafeRLHFConfig(path=str(path))).table("train")


def test_editions_without_the_flags_are_read(tmp_path):
    rows = [{k: v for k, v in row(i, 0, 1).items() if not k.startswith("is_")} for i in range(40)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    data = PKUSafeRLHF(
        PKUSafeRLHFConfig(path=str(path), labels={"safe": "safer_response_id", "s": "-shorter"})
    )
    np.testing.assert_array_equal(data.table("train").labels, np.ones((len(data.table("train")), 2)))


def test_a_missing_label_column_is_named(tmp_path):
    rows = [{"prompt": "p", "response_0": "a", "response_1": "b", "safer_response_id": 1}]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"no column 'better_response_id'; it has prompt, response_0"):
        PKUSafeRLHF(PKUSafeRLHFConfig(path=str(path))).table("train")


def test_the_template():
    rules = EncodingRules.of(PKUSafeRLHFConfig())
    assert rules.prompt_text("Why {prompt}?") == "BEGINNING OF CONVERSATION: USER: Why {prompt}? ASSISTANT:"
