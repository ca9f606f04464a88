"""The catalogue: what is there is found, in any stage."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.catalogue import ARTEFACTS, find_root, standings, verdict_counts
from lightning_moa.reporting.claims import OURS, PAPER, claims_frame, judge
from lightning_moa.reporting.readme import held
from lightning_moa.reporting.schema import CLAIMS
from lightning_moa.reporting.study_tables import claims_lines, claims_table, noise_lines, sensitivity_lines
from lightning_moa.reporting.tables import catalogue_table


def test_all_three_papers_and_all_methods_together_are_there() -> None:
    found = Counter(artefact.paper for artefact in ARTEFACTS)
    assert found == {"panacea": 12, "gapo": 9, "ham": 11, "cross": 7}
    cross = {path.stem for path in (Path(__file__).parents[2] / "experiments" / "cross").glob("*.py")}
    assert cross == {artefact.name for artefact in ARTEFACTS if artefact.paper == "cross"}
    assert all(artefact.title and "\n" not in artefact.title for artefact in ARTEFACTS)


def test_scripts_scales_and_verdicts_are_found(tmp_path: Path) -> None:
    script = tmp_path / "experiments" / "panacea" / "figure4.py"
    script.parent.mkdir(parents=True)
    script.touch()
    folder = tmp_path / "results" / "panacea" / "figure4"
    rows = [
        judge("a", "w", "s", {0: 1.0, 1: 1.001}, "<", 2),
        judge("b", "w", "s", {0: 3.0, 1: 3.001}, "<", 2),
        judge("c", "w", "s", {0: -1.0, 1: 1.0}, ">", 0),
        judge("d", "w", "s", {0: 1.0}, ">", 0),
        judge("e", "w", "s", {0: 1.0, 1: 1.1}, ">", 0),
        judge("f", "w", "s", {0: 1.0, 1: 1.01}, ">", 0, whose=OURS),
        judge("g", "w", "s", {0: 0.01, 1: -0.01, 2: 0.0}, ">", 0, margin=0.026, whose=OURS),
        judge("h", "w", "s", {0: 0.01, 1: -0.01, 2: 0.0}, ">", 0, margin=0.026, whose=OURS),
    ]
    CLAIMS.write(claims_frame(rows), folder / "tiny" / "claims.csv")
    (folder / "full").mkdir()
    (folder / "small").mkdir()
    (folder / "small" / "points.csv").touch()
    found = {(s.artefact.paper, s.artefact.name): s for s in standings(tmp_path)}
    assert len(found) == len(ARTEFACTS)
    standing = found[("panacea", "figure4")]
    assert standing.has_script
    assert list(standing.scales) == ["small", "tiny"]
    theirs, ours = (standing.scales["tiny"][whose] for whose in (PAPER, OURS))
    assert verdict_counts(theirs) == "2 of 5 hold (1 with Holm), 1 within noise, 1 fail, 1 one seed"
    # Two level rows of p = .046 each.
    assert verdict_counts(ours) == "1 of 3 hold, 2 level (0 with Holm)"
    assert held(ours) == "1 of 3, 2 level"
    assert held(theirs) == "2 of 5 (1 with Holm), 1 fail"
    assert standing.by_chance["tiny"] == pytest.approx(7 * 0.025)
    assert [verdict_counts(each) for each in standing.scales["small"].values()] == ["-", "-"]
    table = catalogue_table(standings(tmp_path))
    assert "by chance 0.2 of all claims" in str(table.caption)
    assert (
        list(table.columns[5].cells).count("2 of 5 hold (1 with Holm), 1 within noise, 1 fail, 1 one seed")
        == 1
    )
    assert not found[("ham", "figure4")].has_script
    assert not found[("ham", "figure4")].scales


def test_the_terminal_shows_both_verdicts_and_what_chance_gives() -> None:
    rows = [
        judge("ours", "w", "s", {0: 1.0, 1: 1.05}, ">", 0, whose=OURS),
        judge("theirs", "w", "s", {0: -1.0, 1: 1.0}, ">", 0),
        judge("alone", "w", "s", {0: 1.0}, ">", 0),
    ]
    claims = claims_frame(rows)
    table = claims_table(claims)
    heads = ["the paper's sentences:", "claims of ours:"]
    assert [str(cell) for cell in table.columns[0].cells] == [heads[0], "theirs", "alone", heads[1], "ours"]
    ends = "rules out more than 13 above and 13 below the bound"
    assert noise_lines(claims) == [f"within noise: theirs: {ends}"]
    assert list(table.columns[-1].cells) == ["", "within noise", "one seed", "", "holds"]
    assert list(table.columns[4].cells) == ["", "1", "", "", "0.016"]
    taken_back = claims_table(claims_frame([rows[0], *[rows[1]] * 4]))
    assert list(taken_back.columns[-1].cells)[-1] == "holds *"
    lines = claims_lines(claims)
    assert lines[0] == "the paper's sentences: 0 of 2 hold, 1 within noise, 1 one seed"
    assert lines[1] == "claims of ours: 1 of 1 hold"
    assert lines[2].startswith("by chance: of 2 rows with an interval 0.1 would hold")
    sensitivity = pd.DataFrame(
        [
            ("a", "w", "s", "rule", "holds"),
            ("a", "w", "s", "far", "fails"),
            ("b", "w", "s", "rule", "holds"),
            ("b", "w", "s", "far", "holds"),
        ],
        columns=["claim", "where", "statistic", "reference", "verdict"],
    )
    assert sensitivity_lines(sensitivity) == ["reference point: 2 verdicts rest on it; 1 change at 'far'"]
    assert sensitivity_lines(sensitivity[:0]) == sensitivity_lines(None) == []


def test_a_script_may_make_two_artefacts(tmp_path: Path) -> None:
    script = tmp_path / "experiments" / "gapo" / "figure_scale.py"
    script.parent.mkdir(parents=True)
    script.touch()
    found = {standing.artefact.name for standing in standings(tmp_path) if standing.has_script}
    assert found == {"figure_scale", "figure_scale_objective"}


def test_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="experiments"):
        find_root(tmp_path)
    (tmp_path / "experiments").mkdir()
    assert find_root(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert find_root() == tmp_path
