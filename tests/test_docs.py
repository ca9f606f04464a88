"""The pages of docs/ say what is there."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"


def test_every_file_that_the_page_of_equations_names_exists_and_says_what_it_is_named_for():
    for line in (DOCS / "equations.md").read_text().splitlines():
        place = line.rpartition(" | ")[2]
        for name, words in re.findall(r"`([\w/{},*.]+?\.(?:py|yaml))`(?:: ((?:`\w+`(?: or )?)+))?", place):
            paths = [name]
            if found := re.search(r"\{(.+?)\}", name):
                paths = [name.replace(found[0], each) for each in found[1].split(",")]
            for path in paths:
                root = (
                    REPOSITORY
                    if path.split("/")[0] in ("tests", "experiments", "benchmarks")
                    else REPOSITORY / "lightning_moa"
                )
                files = list(root.glob(path))
                assert files, path
                for word in re.findall(r"`(\w+)`", words):
                    assert word in files[0].read_text(), (path, word)


def test_all_numbered_equations_have_a_place():
    page = (DOCS / "equations.md").read_text()
    panacea, ham = page.split("## HaM")[0], page.split("## HaM")[1].split("## GAPO")[0]
    for text, last in ((panacea, 16), (ham, 10)):
        cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
        numbers = {int(each) for cell in cells for each in cell.split(", ") if each.isdigit()}
        assert set(range(1, last + 1)) <= numbers


def test_the_page_on_extending_prints_the_examples_as_they_are():
    printed = re.findall(r"```python\n(.*?)```", (DOCS / "extending.md").read_text(), flags=re.DOTALL)
    files = {path.read_text() for path in (REPOSITORY / "examples" / "own").glob("*.py")}
    assert set(printed) == files


def test_the_advisories_of_the_page_on_security_are_mended_in_the_versions_that_are_asked_for():
    """What is in the table's last column is what the lock and the requirements hold."""
    page = (DOCS / "security.md").read_text()
    locked = dict(
        re.findall(r"^([\w-]+)==([\d.]+)", (REPOSITORY / "requirements.lock").read_text(), flags=re.M)
    )
    asked = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', (REPOSITORY / "pyproject.toml").read_text()))
    rows = [
        line.split(" | ") for line in page.partition("## Known advisories")[2].splitlines() if "CVE" in line
    ]
    assert len(rows) >= 6
    for _, library, affected, here in rows:
        worst = _version(re.findall(r"\d+(?:\.\d+)+", affected)[-1])
        assert _version(locked[library]) > worst
        least, given = re.match(r"([\d.]+) and later", here), re.search(r"lock` has ([\d.]*\d)", here)
        assert least or given, library
        if least:
            assert _version(asked[library]) >= _version(least[1]) > worst
        if given:
            assert given[1] == locked[library]


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
