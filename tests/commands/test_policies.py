"""`moa policies`: where a study's policies lie."""

from __future__ import annotations

from lightning_moa.cli import main
from tests.inference.test_found import put


def test_brackets_in_a_path_are_shown(tmp_path, monkeypatch, capsys):
    put(tmp_path / "[old]" / "x", {"runs": "runs", "policies": [_of("[/m]")]})
    monkeypatch.chdir(tmp_path)
    assert main(["policies", "[old]"]) == 0
    said = capsys.readouterr().out
    assert "[/m]" in said
    assert "[old]/x/runs/align-m0/policy" in said


def _of(method):
    trained = [{"run": "align-m0", "preference": {"a": 1.0, "b": 0.0}}]
    return {
        "method": method,
        "seed": 0,
        "deployment": "Nearest",
        "measurement": "evaluate-m0",
        "trained": trained,
    }
