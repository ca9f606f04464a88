"""Where folders may be read and written."""

import os
from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.folders import check_place, check_writable, refuse_links_out, run_in


def test_links_within_a_folder_are_followed_and_those_out_of_it_are_not(tmp_path):
    folder, alias = tmp_path / "results", tmp_path / "alias"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "points.csv").write_text("x")
    alias.symlink_to(folder)
    (folder / "b").symlink_to(folder / "a")
    for root in (folder, alias):
        refuse_links_out(root, [root / "a" / "points.csv", root / "b" / "points.csv"])
    (folder / "c").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"results/c/other: a link out of .*results, which is not followed"):
        refuse_links_out(folder, [folder / "a", folder / "c" / "other"])


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc", "..", "", "a/"])
def test_a_run_s_name_leads_nowhere_else(name):
    with pytest.raises(UserError, match="is no name of a run in it"):
        run_in(Path("runs"), name)
    assert run_in(Path("runs"), "align-1") == Path("runs/align-1")


def test_a_folder_that_is_not_there_is_judged_by_the_one_that_is(tmp_path, monkeypatch):
    check_writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    for place in ("file", "file/results"):
        with pytest.raises(UserError, match=r"cannot be written, for .*file is a file"):
            check_writable(tmp_path / place)
    # Root may write anywhere, but not on a disk that is mounted read-only.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UserError, match=r"a/b: cannot be written, for .* is read-only"):
        check_writable(tmp_path / "a" / "b")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_place_that_no_disk_can_have_is_looked_for_above(tmp_path, name):
    assert check_place(tmp_path / name / "results") == tmp_path
