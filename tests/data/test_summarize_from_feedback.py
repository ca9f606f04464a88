import json

import pytest

from lightning_moa.data.configs import SummarizeFromFeedbackConfig
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.files import read_local
from lightning_moa.data.summarize_from_feedback import SummarizeFromFeedback, parse
from lightning_moa.errors import UserError

from .support import write_lines


def row(i, choice=0, split="train", **info):
    return {
        "info": {"id": f"t3_{i}", "post": f"post {i}s", "title": f"title {i}", "subreddit": "tifu", **info},
        "summaries": [
            {"text": f" summary {choice} {i}", "policy": "ref"},
            {"text": " other", "policy": "sup"},
        ],
        "choice": choice,
        "split": split,
    }


def data_of(path, **options):
    return SummarizeFromFeedback(SummarizeFromFeedbackConfig(path=str(path), **options))


def test_the_real_row(shared_data):
    path = shared_data / "summarize-from-feedback" / "comparisons-example.jsonl"
    source = json.loads(path.read_text())
    rows = parse(read_local(path)["train"])
    assert rows.reasons == [None]
    assert rows.keys == ["t3_2vwp1w"]
    assert rows.prompts[0].startswith(
        "SUBREDDIT: r/legaladvice\n\nTITLE: Anybody with knowledge of the Dutch law"
    )
    assert rows.prompts[0].endswith("POST: " + source["info"]["post"].strip())
    assert rows.responses[0] == tuple(item["text"][1:] for item in source["summaries"])
    assert rows.labels["choice"].tolist() == [1]
    text = EncodingRules.of(SummarizeFromFeedbackConfig()).prompt_text(rows.prompts[0])
    assert text.endswith("appeciated on this :)\n\nTL;DR:")


def test_axis_rows_are_refused(shared_data):
    path = shared_data / "summarize-from-feedback" / "axis-example.jsonl"
    with pytest.raises(UserError, match="no column 'summaries'"):
        data_of(path).table("train")


def test_the_published_split_is_used_whatever_the_files_are_called(tmp_path):
    rows = [row(i // 3, i % 2, "valid1" if i >= 24 else "train") for i in range(30)]
    write_lines(tmp_path / "batch3.json", rows[:20])
    write_lines(tmp_path / "edit_b2_eval_test.json", rows[20:])
    data = data_of(tmp_path)
    assert (len(data.table("train")), len(data.table("eval"))) == (24, 6)
    assert len(data.prompt_list("train")) == 8, "each post once"
    assert data.table("train").labels[:, 0].tolist() == [i % 2 for i in range(24)]


def test_without_one_posts_are_split_by_id(tmp_path):
    path = write_lines(tmp_path / "batch.json", [row(i // 4) for i in range(240)])
    data = data_of(path, eval_fraction=0.3)
    train, held = set(data.prompt_list("train")), set(data.prompt_list("eval"))
    assert not train & held
    assert len(train | held) == 60


def test_articles_stand_in_for_posts_or_are_dropped(tmp_path):
    rows = [row(i, split="train" if i < 20 else "valid2") for i in range(25)]
    rows[3]["info"] = {"id": "cnn", "post": None, "title": "news", "article": " Long ago."}
    rows[4]["info"] = {"id": "none", "post": None}
    path = write_lines(tmp_path / "batch.json", rows)
    used = data_of(path)
    assert "TITLE: news\n\nARTICLE: Long ago." in used.table("train").prompts
    assert used.report.dropped["train"] == {"missing text": 1}
    left_out = data_of(path, articles="drop")
    assert len(left_out.table("train")) == 18
    assert left_out.report.dropped["train"] == {"CNN/DM article": 2}


def test_damaged_rows_are_named(tmp_path):
    rows = [row(0), row(1)]
    rows[1]["summaries"] = rows[1]["summaries"][:1]
    with pytest.raises(UserError, match=r"b\.json, row 2, column 'summaries': two objects"):
        data_of(write_lines(tmp_path / "b.json", rows)).table("train")
    with pytest.raises(UserError, match=r"b\.json, row 2, column 'info': post must be a text, got int"):
        data_of(write_lines(tmp_path / "b.json", [row(0), row(1, post=5)])).table("train")
    rows[1] = {**row(1), "info": None}
    with pytest.raises(UserError, match=r"b\.json, row 2, column 'info'"):
        data_of(write_lines(tmp_path / "b.json", rows)).table("train")


def test_the_hub_needs_a_commit_of_the_user():
    with pytest.raises(UserError, match=r"openai/summarize_from_feedback .*data\.revision=<commit>"):
        SummarizeFromFeedback(SummarizeFromFeedbackConfig()).table("train")


def test_nested_parquet_reads_as_the_hub_serves_it(tmp_path):
    import pandas as pd

    rows = [row(i, i % 2) for i in range(40)]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    write_lines(tmp_path / "rows.jsonl", rows)
    first, second = data_of(tmp_path / "rows.parquet"), data_of(tmp_path / "rows.jsonl")
    assert first.table("train").prompts == second.table("train").prompts
    assert first.table("train").responses == second.table("train").responses
