import gzip
import json
import lzma

import pandas as pd
import pytest

from lightning_moa.data.files import (
    format_of,
    number,
    place,
    read_file,
    read_hub,
    read_local,
    require_columns,
    texts,
    values,
)
from lightning_moa.digests import digest
from lightning_moa.errors import UserError

from .support import write_lines

ROWS = [{"text": "null", "n": 1}, {"text": "2020-01-01", "n": None}, {"text": "a\u2028b", "n": 0}]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_every_format_gives_the_same_texts(tmp_path):
    frame = pd.DataFrame(ROWS)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(lines)
    (tmp_path / "c.json").write_text(json.dumps(ROWS))
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "e.parquet")
    for source in ("a.jsonl", "c.json", "d.csv", "e.parquet"):
        content = (tmp_path / source).read_bytes()
        (tmp_path / f"{source}.gz").write_bytes(gzip.compress(content))
        (tmp_path / f"{source}.xz").write_bytes(lzma.compress(content))
    files = sorted(file for file in tmp_path.iterdir())
    assert len(files) == 13
    for file in files:
        assert texts(read_file(file), "text") == ["null", "2020-01-01", "a\u2028b"], file


def test_missing_values_are_none(tmp_path):
    frame = read_file(write_lines(tmp_path / "a.jsonl", ROWS))
    assert values(frame, "n") == [1, None, 0]


def test_a_number_is_one_that_a_float_holds():
    given = [1, "2.5", True, 10**400, "1e999", [3], None, "N/A"]
    assert [number(value) for value in given] == [1, 2.5, 1, *[None] * 5]


def test_arrays_are_lists(tmp_path):
    rows = [
        {"a": [1.0], "b": [["x", "y"], ["z"]], "c": [], "d": {"e": [1]}},
        {"a": None, "b": None, "c": ["x"], "d": {"e": []}},
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    frame = read_file(tmp_path / "a.parquet")
    for name in rows[0]:
        assert values(frame, name) == [row[name] for row in rows]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfa,b\n1,2\n")
    assert list(read_file(tmp_path / "a.csv").columns) == ["a", "b"]


def test_rows_are_counted_by_line_and_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    frame = read_local(path)["train"]
    assert place(frame, 1) == ("a.jsonl", 3)


def test_a_folder_is_split_by_its_words(tmp_path):
    write_lines(tmp_path / "data" / "train-00000-of-00001.jsonl", [{"a": 1}])
    write_lines(tmp_path / "train" / "more.jsonl", [{"a": 2}])
    write_lines(tmp_path / "x_test.json", [{"a": 3}])
    (tmp_path / "README.md").write_text("not data")
    frames = read_local(tmp_path)
    assert list(frames) == ["train", "eval"]
    assert sorted(values(frames["train"], "a")) == [1, 2]
    assert values(frames["eval"], "a") == [3]
    assert len(read_local(tmp_path, by_name=False)["train"]) == 3


def test_a_folder_without_such_words_is_all_training(tmp_path):
    write_lines(tmp_path / "contest.jsonl", [{"a": 1}])
    write_lines(tmp_path / "latest.jsonl", [{"a": 2}])
    assert list(read_local(tmp_path)) == ["train"]


@pytest.mark.parametrize("names", [("train.jsonl", "extra.jsonl"), ("test.jsonl",)])
def test_a_folder_named_in_part_is_an_error(tmp_path, names):
    for name in names:
        write_lines(tmp_path / name, [{"a": 1}])
    with pytest.raises(UserError, match=r"neither train nor test|none named train"):
        read_local(tmp_path)


def test_errors_say_what_and_where(tmp_path):
    packed = gzip.compress(json.dumps(ROWS).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n{"a": \n')
    (tmp_path / "bad.json").write_text('[{"a": 1},\n oops]')
    digits = "1" * 5000
    (tmp_path / "long.jsonl").write_text(f'{{"a": 1}}\n{{"a": {digits}}}\n')
    (tmp_path / "long.json").write_text(f'[{{"a": {digits}}}]')
    (tmp_path / "deep.jsonl").write_text('{"a": 1}\n' + "[" * 100_000)
    (tmp_path / "list.jsonl").write_text('{"a": 1}\n[1]\n')
    (tmp_path / "doubled.jsonl").write_text('{"a": 1}\n{"a": {"b": 1, "b": 2}}\n')
    (tmp_path / "doubled.json").write_text('[{"a": 1, "a": 1}]')
    (tmp_path / "empty.jsonl").write_text(" \n")
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "heads.csv").write_text("a,b\n")
    (tmp_path / "ragged.csv").write_text('a\n1\n"2,3')
    (tmp_path / "twice.csv").write_text('a,"b c",a\n1,2,3\n')
    (tmp_path / "wide.csv").write_text("a,b\n1,2,3\n4,5,6\n")
    (tmp_path / "trailing.csv").write_text("a,b\n1,2,\n4,5,\n")
    (tmp_path / "later.csv").write_text("a,b\n1,2\n4,5,6\n")
    (tmp_path / "open.csv").write_text('"a,b\n' + "1,2\n" * 40_000)
    (tmp_path / "latin.csv").write_bytes(b"a\n\xe9\n")
    (tmp_path / "no.parquet").write_bytes(b"not parquet at all")
    (tmp_path / "a.txt").write_text("x")
    for name, words in {
        "cut.jsonl.gz": "cut short or damaged",
        "bad.jsonl": "line 2: not valid JSON",
        "bad.json": "line 2: not valid JSON",
        "doubled.jsonl": "line 2: 'b' is there twice in one object",
        "doubled.json": "'a' is there twice in one object",
        "long.jsonl": "line 2: Exceeds the limit",
        "long.json": "Exceeds the limit",
        "deep.jsonl": "line 2: maximum recursion depth",
        "list.jsonl": "line 2: an object",
        "empty.jsonl": "is empty",
        "none.json": "holds no rows",
        "heads.csv": "holds no rows",
        "ragged.csv": "not valid csv",
        "twice.csv": "2 columns are called 'a'",
        "wide.csv": "row 1: 3 values, and the header names 2 columns",
        "trailing.csv": "row 1: 3 values, and the header names 2 columns",
        "later.csv": "not valid csv",
        "open.csv": "not valid csv: field larger than field limit",
        "latin.csv": "not UTF-8",
        "no.parquet": "not a readable parquet",
        "a.txt": "no known format",
    }.items():
        with pytest.raises(UserError) as caught:
            read_file(tmp_path / name)
        message = str(caught.value)
        assert name in message, message
        assert words in message, message
        assert "\n" not in message
    with pytest.raises(UserError, match="is not there"):
        read_local(tmp_path / "absent")
    with pytest.raises(UserError, match=r"^--prompts \S+none\.csv is not there"):
        read_local(tmp_path / "none.csv", key="--prompts")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="holds no file"):
        read_local(tmp_path / "bare")


def test_a_missing_column_is_named_with_those_there(tmp_path):
    frame = read_local(write_lines(tmp_path / "a.jsonl", ROWS))["train"]
    with pytest.raises(UserError, match=r"a\.jsonl has no column 'prompt'; it has text, n"):
        require_columns(frame, ["text", "prompt"])


def test_a_value_that_is_no_text_is_named(tmp_path):
    frame = read_local(write_lines(tmp_path / "a.jsonl", [{"t": "x"}, {"t": ["y"]}]))["train"]
    with pytest.raises(UserError, match=r"a\.jsonl, row 2, column 't': text is expected, got list"):
        texts(frame, "t")


def test_formats_are_told_by_suffix(tmp_path):
    assert format_of(tmp_path / "a.b.JSONL.gz") == ".jsonl"
    assert format_of(tmp_path / "a.gz") is None
    assert format_of(tmp_path / "a.tar.gz") is None


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:-1]])
def test_the_hub_needs_a_commit(revision):
    with pytest.raises(UserError, match=r"data\.revision=<commit>"):
        read_hub("owner/set", revision, {"train": "train"})


def test_the_hub_is_asked_for_the_commit(monkeypatch):
    import datasets

    asked = {}

    def load(hub_id, **options):
        asked.update(options, hub_id=hub_id)
        return datasets.DatasetDict({"train": datasets.Dataset.from_list([{"a": 1}, {"a": 2}])})

    monkeypatch.setattr(datasets, "load_dataset", load)
    frames = read_hub("owner/set", COMMIT, {"train": "train"}, data_dir="part")
    assert (asked["hub_id"], asked["revision"], asked["data_dir"]) == ("owner/set", COMMIT, "part")
    assert "trust_remote_code" not in asked
    assert place(frames["train"], 1) == ("owner/set/part train", 2)
    with pytest.raises(UserError, match="has no split 'test'; it has train"):
        read_hub("owner/set", COMMIT, {"eval": "test"})


def test_an_unreachable_hub_is_one_line(monkeypatch):
    import datasets

    def load(hub_id, **options):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(UserError, match=r"could not be read from the hub \(no route\)"):
        read_hub("owner/set", COMMIT, {"train": "train"})


@pytest.mark.parametrize("parts", [None, ("train", "test")])
def test_a_folder_that_datasets_has_saved_is_read(tmp_path, parts):
    import datasets

    one = datasets.Dataset.from_list([{"prompt": f"p{i}", "label": i % 2} for i in range(6)])
    # Rows that were chosen or moved are written as they are then.
    one = one.filter(lambda row: row["prompt"] != "p0", cache_file_name=str(tmp_path / "elsewhere.arrow"))
    folder = tmp_path / "saved"
    (one if parts is None else datasets.DatasetDict(dict.fromkeys(parts, one))).save_to_disk(folder)
    (folder / "cache-0123.arrow").write_bytes(b"x")
    found = read_local(folder)
    assert set(found) == ({"train"} if parts is None else {"train", "eval"})
    assert texts(found["train"], "prompt") == ["p1", "p2", "p3", "p4", "p5"]
    assert values(found["train"], "label") == [1, 0, 1, 0, 1]


def test_what_tells_of_the_data_in_a_copy_of_the_hub_s_is_no_data(tmp_path):
    write_lines(tmp_path / "data" / "train-00000.jsonl", [{"a": 1}])
    write_lines(tmp_path / "data" / "test-00000.jsonl", [{"a": 2}])
    for name in ("dataset_infos.json", ".cache/huggingface/x.json", ".huggingface/y.json", "__MACOSX/z.json"):
        write_lines(tmp_path / name, [{"info": 1}])
    (tmp_path / "README.md").write_text("---\ndataset_info: x\n---\n")
    found = read_local(tmp_path)
    assert {name: values(frame, "a") for name, frame in found.items()} == {"train": [1], "eval": [2]}
    before = digest(str(tmp_path))
    write_lines(tmp_path / ".cache" / "w.json", [{"info": 2}])
    assert digest(str(tmp_path)) == before


def test_names_within_a_folder_are_of_its_digest_and_a_files_own_or_a_folders_is_not(tmp_path):
    folder, rows = tmp_path / "a", [{"a": i} for i in range(3)]
    for name in ("one.jsonl", "two.jsonl"):
        write_lines(folder / name, rows)
    before, file = digest(str(folder)), digest(str(folder / "one.jsonl"))
    assert digest(str(folder.rename(tmp_path / "b"))) == before
    folder = tmp_path / "b"
    for name, split in {"one.jsonl": "train.jsonl", "two.jsonl": "test.jsonl"}.items():
        (folder / name).rename(folder / split)
    assert digest(str(folder)) != before, "it is split by its names now"
    assert digest(str(folder / "train.jsonl")) == file


def test_a_damaged_arrow_file_is_named(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"no arrow at all")
    with pytest.raises(UserError, match=r"a\.arrow is not a readable arrow file"):
        read_file(tmp_path / "a.arrow")
