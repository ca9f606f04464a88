"""Atomic writing when the disk is full, the folder read-only, or the process interrupted."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.files import (
    in_the_making,
    read_text,
    spreadsheet_text,
    without_apostrophe,
    write_atomically,
)
from lightning_moa.run_folders import owner
from tests.conftest import REPOSITORY


def full_disk(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.csv"
    write_atomically(path, "old")
    write_atomically(path, b"new\n")
    assert path.read_bytes() == b"new\n"
    assert os.listdir(path.parent) == ["b.csv"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "points.csv"
    write_atomically(path, "old")
    monkeypatch.setattr(os, function, full_disk)
    with pytest.raises(UserError, match=r"points\.csv.*No space left") as caught:
        write_atomically(path, "new")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["points.csv"]


def test_an_interrupt_keeps_the_old_file_and_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "points.csv"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert os.listdir(tmp_path) == ["points.csv"]
    assert path.read_text() == "old"


def test_a_folder_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_atomically(tmp_path / "file" / "points.csv", "x")


def test_reading(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        read_text(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="can't be read"):
        read_text(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read_text(tmp_path / "binary")


TEXTS = ["=1+1", "+cmd", "-rm", "@sum", "\tx", "\rx"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_spreadsheet_would_run_is_written_as_text_and_read_as_it_was(text: str) -> None:
    written = spreadsheet_text(pd.DataFrame({"a": [text], text: [1.0]}))
    assert written.iloc[0].tolist() == [f"'{text}", 1.0]
    assert written.columns.tolist() == ["a", f"'{text}"]
    assert without_apostrophe(written.iloc[0, 0]) == text


def test_numbers_and_other_texts_stay_as_they_are() -> None:
    cells = ["-0.5", "+1e-3", "a=b", "'tis", "", "'", None, float("nan"), -2.5, 3]
    frame = pd.DataFrame({"a": pd.Series(cells, dtype=object)})
    pd.testing.assert_frame_equal(spreadsheet_text(frame), frame)
    assert [without_apostrophe(each) for each in ("'tis", "a", "", "'", "-x")] == ["'tis", "a", "", "'", "-x"]


def test_what_a_killed_process_has_left_is_cleared_and_nothing_else(tmp_path):
    code = (
        "import os, signal\n"
        "from lightning_moa.reporting import files\n"
        "files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"files.write_atomically({str(tmp_path / 'a[1].csv')!r}, 'torn')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    (left,) = tmp_path.iterdir()
    alive = tmp_path / f".a[1].csv.0.{owner()}"
    others = [alive, tmp_path / ".a[1].csv.0.elsewhere-1_1", tmp_path / ".b.csv.mine"]
    for other in others:
        other.touch()
    write_atomically(tmp_path / "a[1].csv", "whole")
    assert left.name.startswith(".a[1].csv.")
    assert set(tmp_path.iterdir()) == {tmp_path / "a[1].csv", *others}


@pytest.mark.parametrize("renames", [0, 1])
def test_a_folder_that_a_killed_process_was_making_is_cleared_by_the_next(tmp_path, renames):
    """Killed before what was there has made room for it, and after."""
    target = tmp_path / "my[1] site"
    code = (
        "import os, signal\nfrom pathlib import Path\n"
        "from lightning_moa.reporting.files import in_the_making\n"
        f"target, renamed, rename = Path({str(target)!r}), [], Path.rename\n"
        "with in_the_making(target) as folder:\n    (folder / 'page').write_text('old')\n"
        "def killed(self, to):\n"
        f"    if len(renamed) == {renames}:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    renamed.append(rename(self, to))\n"
        "Path.rename = killed\n"
        "with in_the_making(target) as folder:\n    (folder / 'page').write_text('torn')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    assert target.exists() is (renames == 0)
    others = [tmp_path / f".my[1] site.{owner()}", tmp_path / ".my[1] site.elsewhere-1_1", tmp_path / "mine"]
    for other in others[1:]:
        other.mkdir()
    with in_the_making(target) as folder:
        assert folder == others[0]
        (folder / "page").write_text("whole")
    assert set(tmp_path.iterdir()) == {target, *others[1:]}
    assert (target / "page").read_text() == "whole"


def test_a_full_disk_in_the_middle_of_a_rename_leaves_the_folder_that_was_there(tmp_path, monkeypatch):
    target, rename = tmp_path / "site", Path.rename
    with in_the_making(target) as folder:
        (folder / "page").write_text("old")
    monkeypatch.setattr(Path, "rename", lambda path, to: full_disk() if path == folder else rename(path, to))
    with pytest.raises(OSError, match="No space left"), in_the_making(target) as again:
        (again / "page").write_text("new")
    assert again == folder
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert (target / "page").read_text() == "old"
