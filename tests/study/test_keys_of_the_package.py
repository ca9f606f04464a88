"""Which runs an edit of this package makes anew: those whose tasks reach the file, asked of a copy of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "lightning_moa"
CODE = "\n\nEDITED = True\n"
ENGINE = ("study", "reporting", "figures", "forecast", "reach", "config")
"""Rooms that no run reaches: they plan it, start it, tell of it."""
EDITS = {
    "gapo": {"aggregation/gapo.py": CODE},
    "volume": {"aggregation/volume.py": CODE},
    "tchebycheff": {"aggregation/tchebycheff.py": CODE},
    "ppo": {"objectives/ppo.py": CODE},
    "rows": {"runs/rows.py": CODE},
    "align": {"runs/align.py": CODE},
    "soup": {"policies/soup.py": CODE},
    "in_prompt": {"deployments/in_prompt.py": CODE},
    "world": {"world/grammar.py": CODE},
    "words": {
        "runs/align.py": "\n# A comment.\n",
        "world/grammar.py": "\n\n\n",
        "objectives/ppo.py": '\n"""Words."""\n',
    },
    "execute": {"study/execute.py": CODE},
    "planning": {"study/planning.py": CODE},
    "reporting": {f"reporting/{path.name}": CODE for path in (PACKAGE / "reporting").glob("*.py")},
    "engine": {
        path.relative_to(PACKAGE).as_posix(): CODE
        for room in ENGINE
        for path in (PACKAGE / room).glob("*.py")
    }
    | {"cli.py": CODE, "help.py": CODE, "runs/offline_logps.py": CODE},
    "new": {
        f"{path.parent.name}/quite_new.py": "import torch\n\n\nclass New: ...\n"
        for path in PACKAGE.glob("*/__init__.py")
    },
}


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Name of an edit to the tasks whose keys it changes; `tasks` are all of them."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / "lightning_moa", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "study/__init__.py", "study/keys_of_a_copy.py"):
        source = REPOSITORY / "tests" / name
        target = root / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text() if source.exists() else "")
    done = subprocess.run(
        [sys.executable, "-m", "tests.study.keys_of_a_copy", json.dumps(EDITS)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: set(tasks) for name, tasks in json.loads(done.stdout).items()}


def of(changed, *words: str) -> set[str]:
    """The tasks whose names have a word of these."""
    return {name for name in changed["tasks"] if set(words) & set(name.replace(",", "").split())}


def test_an_aggregation_changes_the_runs_that_use_it_and_their_measurements_alone(changed):
    assert changed["gapo"] == of(changed, "gapo", "pgapo", "mgda")
    assert changed["volume"] == of(changed, "ham")
    assert changed["tchebycheff"] == set()


def test_an_objective_changes_the_runs_that_use_it_and_their_measurements_alone(changed):
    assert changed["ppo"] == of(changed, "gapo", "pgapo", "mgda", "linear")


def test_a_worker_s_module_changes_what_it_works_and_what_needs_that(changed):
    """A measurement needs the policies, and those of scored responses the rows."""
    assert changed["rows"] == of(changed, "rows", "ham", "ric")
    trained = of(changed, "gapo", "pgapo", "mgda", "linear", "panacea", "ham", "ric")
    assert changed["align"] == trained
    assert changed["world"] == changed["tasks"]


def test_a_deployment_changes_the_measurements_that_use_it_alone(changed):
    assert changed["in_prompt"] == {"measure ric, seed 0"}


@pytest.mark.parametrize("edit", ["words", "execute", "planning", "reporting", "engine", "new"])
def test_what_no_run_reaches_changes_no_key(changed, edit):
    assert changed[edit] == set()
