"""The catalogue: what is there is found, in any stage."""

from collections import Counter
from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.catalogue import ARTEFACTS, find_root, standings
from lightning_moa.reporting.claims import claims_frame, judge, judge_count
from lightning_moa.reporting.schema import CLAIMS
from lightning_moa.reporting.tables import verdict_counts


def test_all_three_papers_are_there() -> None:
    assert Counter(artefact.paper for artefact in ARTEFACTS) == {"panacea": 8, "gapo": 8, "ham": 10}
    assert all(artefact.title and "\n" not in artefact.title for artefact in ARTEFACTS)


def test_scripts_scales_and_verdicts_are_found(tmp_path: Path) -> None:
    script = tmp_path / "experiments" / "panacea" / "figure4.py"
    script.parent.mkdir(parents=True)
    script.touch()
    folder = tmp_path / "results" / "panacea" / "figure4"
    rows = [
        judge_count("a", "w", "s", 1, "<", 2),
        judge_count("b", "w", "s", 3, "<", 2),
        judge("c", "w", "s", {0: -1.0, 1: 1.0}, ">", 0),
        judge("d", "w", "s", {0: 1.0}, ">", 0),
        judge_count("e", "w", "s", 1, "<", 2),
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
    assert verdict_counts(standing.scales["tiny"]) == "2 hold, 1 within noise, 1 fail, 1 one seed"
    assert verdict_counts(standing.scales["small"]) == "-"
    assert not found[("ham", "figure4")].has_script
    assert not found[("ham", "figure4")].scales


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
