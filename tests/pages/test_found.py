"""Which folders hold results, what they are called, and what of them is passed over."""

from __future__ import annotations

import json

import pytest

from lightning_moa.errors import UserError
from lightning_moa.pages.found import LARGEST, SITE, find_results, slug
from tests.pages.conftest import REPOSITORY


def test_committed_results_are_found_in_the_order_of_the_papers():
    figure4 = ("panacea", "figure4")
    found = find_results([REPOSITORY / "results"])
    names = [(each.paper, each.artefact, each.scale) for each in found]
    assert names[:3] == [
        ("panacea", "figure3", "tiny"),
        *((*figure4, each) for each in ("laptop-helpsteer2", "tiny")),
    ]
    assert names.index(("gapo", "table_main", "tiny")) < names.index(("ham", "figure3", "tiny"))
    assert ("other", "benchmarks", "-") in names
    assert len({each.key for each in found}) == len(found)
    (figure,) = [each for each in found if (each.paper, each.artefact) == ("gapo", "figure_scale")]
    assert [part.name for part in figure.parts][:4] == ["", "m2", "m2/x0.125", "m2/x1"]


def test_a_result_is_called_the_same_wherever_one_begins(theirs, monkeypatch):
    monkeypatch.chdir(theirs.parents[3])
    for path in ("theirs", "theirs/panacea", "theirs/panacea/figure4/tiny", theirs):
        (found,) = find_results([path])
        assert (found.paper, found.artefact, found.scale) == ("panacea", "figure4", "tiny")
    assert found.place == str(theirs)
    assert find_results(["theirs"])[0].place == "theirs/panacea/figure4/tiny"


def test_the_same_folder_twice_is_one_result_and_two_of_a_name_are_two(theirs, tmp_path):
    other = tmp_path / "others" / "panacea" / "figure4" / "tiny"
    other.mkdir(parents=True)
    (other / "points.csv").write_text("")
    found = find_results([tmp_path / "theirs", theirs, tmp_path / "others"])
    assert [each.key for each in found] == ["panacea-figure4-tiny", "panacea-figure4-tiny~~2"]


def test_links_out_large_files_and_sites_are_passed_over_and_named(theirs, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\n")
    (theirs / "modes.csv").symlink_to(secret)
    (theirs / "away").symlink_to(tmp_path)
    with (theirs / "huge.csv").open("wb") as file:
        file.truncate(LARGEST + 1)
    site = tmp_path / "theirs" / "site"
    site.mkdir()
    (site / SITE).write_text(json.dumps({}))
    (site / "points.csv").write_text("")
    (found,) = find_results([tmp_path / "theirs"])
    (part,) = found.parts
    assert {"modes.csv", "huge.csv"} & {file.name for file in part.files} == set()
    assert found.problems == (
        "away: a folder that is a link, which is not followed",
        "huge.csv: 20 MiB, more than the 20 that are shown",
        "modes.csv: a link out of the folder, which is not followed",
    )


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_no_results_is_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name}: no (such folder|result in it)"):
        find_results([tmp_path / name])


def test_parts_of_names_alike_have_keys_of_their_own(theirs):
    for name in ("a b", "a-b", "A-B", "2"):
        (theirs / name).mkdir()
        (theirs / name / "points.csv").write_text("")
    (found,) = find_results([theirs])
    assert [part.name for part in found.parts] == ["", "2", "A-B", "a b", "a-b"]
    assert [part.key.removeprefix(found.key) for part in found.parts] == [
        "",
        "~2",
        "~A-B",
        "~a-b~2",
        "~a-b~3",
    ]


def test_names_that_are_no_text_are_passed_over(theirs):
    (theirs / "b\udcff.csv").write_text("a\n")
    (theirs / "c\udcff").mkdir()
    (found,) = find_results([theirs])
    assert found.problems == ("b?.csv: a name that is no text", "c?: a folder whose name is no text")


def test_slugs_are_names_of_files():
    assert len(slug("long" * 100)) == 80
    assert slug("a/b c<d>.csv") == "a-b-c-d-.csv"
    assert slug("../..") == "unnamed"
