"""Files that are gone, torn, or none."""

from __future__ import annotations

import os

import pytest

from lightning_moa.watch.files import LARGEST, Unread, changed, series_of, text_of

CSV = "epoch,loss,loss/a,step\n0,0.5,0.25,0\n0,0.4,,1\n"


def test_numbers_by_column_with_their_updates():
    assert series_of(CSV) == {"loss": [(0, 0.5), (1, 0.4)], "loss/a": [(0, 0.25)]}


@pytest.mark.parametrize("cut", range(len(CSV)))
def test_a_torn_log_tells_its_whole_lines(cut):
    found, whole = series_of(CSV[:cut]), series_of(CSV)
    assert set(found) <= set(whole)
    assert all(whole[name][: len(values)] == values for name, values in found.items())


@pytest.mark.parametrize(
    "text", ["", "\n", "\0\0\n", "a,b\n1,2\n", 'step,loss\n"1\n', "step,loss\nx,1\nnan,1\n1\n"]
)
def test_what_is_no_log_tells_nothing(text):
    assert series_of(text) == {}


def test_a_log_is_told_up_to_a_line_that_no_csv_has():
    assert series_of(CSV + "0," + "9" * 200_000 + ",,2\n0,0.3,,3\n") == series_of(CSV)


def test_what_is_no_plain_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for name in ("pipe", "link", "."):
        with pytest.raises(Unread, match="no plain file"):
            text_of(tmp_path / name)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(Unread, match="MiB"):
        text_of(tmp_path / "large")


def test_what_has_vanished_is_none(tmp_path):
    (tmp_path / "file").write_text("x")
    assert text_of(tmp_path / "none") is None
    assert text_of(tmp_path / "file" / "none") is None
    assert changed(tmp_path / "none") is None
