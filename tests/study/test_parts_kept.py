"""Results of several parts, with claims and pictures above them, are of one start or are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.study.artefacts import study_of
from lightning_moa.study.kept import other_parts
from lightning_moa.study.results import Artefact

WORLDS = study_of(Path(__file__).resolve().parents[2] / "experiments" / "panacea" / "figure_worlds.py")


def begun(root: Path, *words: str) -> tuple[Artefact, dict[str, object]]:
    """Its folder, and its parts."""
    config, methods = WORLDS.read(["scale=smoke", f"results_dir={root}", *words])
    parts = {f"w{own.data.world_seed}": own for _, own, _ in WORLDS.parts_of(config, methods)}
    whole = Artefact.begin("panacea", "figure_worlds", config)
    whole.begin_parts(parts)
    return whole, parts


def made(root: Path, *words: str) -> Path:
    """The folder that a start leaves."""
    whole, parts = begun(root, *words)
    for part, own in parts.items():
        Artefact.begin("panacea", "figure_worlds", own, part).write_computed(None, {}, "none")
    assert not (whole.folder / "run.yaml").exists(), "until all is made"
    whole.end_parts(parts)
    return whole.folder


def test_other_parts_are_another_start_s(tmp_path):
    folder = made(tmp_path, "worlds=[1,2]")
    assert read_run_record(folder / "run.yaml")["config"]["worlds"] == [1, 2]
    with pytest.raises(
        UserError, match=r"figure_worlds/smoke: holds results of another .*worlds was \[1, 2\]"
    ):
        begun(tmp_path, "worlds=[3]")
    assert (folder / "run.yaml").is_file()
    (folder / "run.yaml").unlink()
    with pytest.raises(
        UserError, match="smoke: holds w1, which is no part of what is asked for; replace=true"
    ):
        begun(tmp_path, "worlds=[3]")
    with pytest.raises(UserError, match=r"w1: holds results of another configuration \(seeds"):
        begun(tmp_path, "worlds=[1,2]", "seeds=[7]")
    begun(tmp_path, "worlds=[1,2]")
    begun(tmp_path, "worlds=[2]", "replace=true")
    assert (folder / "w1").is_dir(), "kept until there is something in its place"
    made(tmp_path, "worlds=[2]", "replace=true")
    assert {path.name for path in folder.iterdir()} == {"w2", "run.yaml"}


def test_what_is_left_of_an_earlier_start_is_named_as_a_whole(tmp_path):
    for place in ("", "m2/x1", "m2/x8", "m3/x1", "m3/x8"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "run.yaml").touch()
    assert other_parts(tmp_path, ["m2/x1", "m2/x8", "m3/x1", "m3/x8"]) == []
    assert other_parts(tmp_path, ["m2/x1", "m2/x2"]) == [tmp_path / "m2" / "x8", tmp_path / "m3"]
