"""run.yaml: what is written can be read, and says where a result comes from."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from lightning_moa.errors import UserError
from lightning_moa.reporting import run_record
from lightning_moa.reporting.run_record import read_run_record, write_run_record

START = datetime(2024, 5, 1, 12, tzinfo=UTC)


@dataclass
class Config:
    path: Path
    steps: tuple[int, ...]
    rate: float


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    config = {"data": Config(Path("a/b"), (1, 2), 1e-5), "scale": np.float64(0.1), "objectives": ["ä", "b"]}
    measured_with, counts = {"data": "hh", "rewards": {"a": "r1"}}, {"prompts": {"x": 3, "y": 1}}
    write_run_record(
        path, config, measured_with=measured_with, started=START, duration=1.23456, evaluated=counts
    )
    record = read_run_record(path)
    assert record is not None
    assert record["config"]["data"] == {"path": "a/b", "steps": [1, 2], "rate": 1e-5}
    assert record["config"]["scale"] == 0.1
    assert record["config"]["objectives"] == ["ä", "b"]
    assert (record["data"], record["rewards"]) == ("hh", {"a": "r1"})
    assert record["evaluated"] == counts
    assert datetime.fromisoformat(record["started"]) == START
    assert record["duration_seconds"] == 1.235
    assert record["packages"]["numpy"] == np.__version__
    assert {"cpu", "cores", "memory_gib", "gpus"} == set(record["hardware"])
    assert record["hardware"]["cores"] >= 1


def test_a_constant_schedule_of_format_2_had_a_warm_up(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    old = {
        "ppo": {"critic_schedule": "constant", "schedule": "cosine"},
        "methods": {"x": {"schedule": "constant"}},
    }
    path.write_text(yaml.safe_dump({"format": 2, "config": old, "kind": "constant"}))
    record = read_run_record(path)
    assert record == {
        "format": run_record.FORMAT,
        "config": {
            "ppo": {"critic_schedule": "constant_with_warmup", "schedule": "cosine"},
            "methods": {"x": {"schedule": "constant_with_warmup"}},
        },
        "kind": "constant",
    }
    write_run_record(path, old, measured_with={}, started=START, duration=1.0)
    record = read_run_record(path)
    assert record is not None
    assert record["config"] == old, "today's words are taken as they are"


def test_no_git_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert run_record.git_commit() == {"id": None, "dirty": None}


def test_commit_and_dirty_code_but_not_dirty_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    module = tmp_path / "lightning_moa" / "reporting" / "run_record.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(run_record, "__file__", str(module))
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    assert run_record.git_commit() == {"id": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "points.csv").write_text("x")
    assert run_record.git_commit()["dirty"] is False
    module.write_text("changed")
    assert run_record.git_commit()["dirty"] is True
    # Installed inside somebody else's repository: not its commit.
    monkeypatch.setattr(run_record, "__file__", str(module.parent / "deeper" / "still" / "run_record.py"))
    assert run_record.git_commit() == {"id": None, "dirty": None}


def test_missing_and_broken_records(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    assert read_run_record(path) is None
    path.write_text("a: [1")
    with pytest.raises(UserError, match="not YAML") as caught:
        read_run_record(path)
    assert "\n" not in str(caught.value)
    path.write_text("- 1")
    with pytest.raises(UserError, match="mapping"):
        read_run_record(path)


def test_a_torn_record_is_refused_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    write_run_record(path, {"a": {"b": [1, 2]}}, measured_with={"data": "hh"}, started=START, duration=1.0)
    whole = path.read_text()
    assert whole.endswith("\n...\n")
    for end in range(1, len(whole)):
        path.write_text(whole[:end])
        with pytest.raises(UserError, match=r"run.yaml: (its end is missing|.*allowed is a mapping)"):
            read_run_record(path)
    path.write_text(whole.removeprefix("---\n").removesuffix("...\n"))
    assert read_run_record(path) is not None, "older records have neither mark"
