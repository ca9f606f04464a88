"""One small finished study of every deployment, which all tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
METHODS = "methods=[panacea_ls,rewarded_soups,dps,tests.inference.more:HAM,tests.inference.more:RIC]"
SMALL = (
    *("scale=smoke", "workers=1", "sft.steps=3", "reward_model.steps=2", "dpo.steps=2", "dpo.lr=0.3"),
    *(
        "likelihood.steps=2",
        "likelihood.rows=40",
        "likelihood.reward=gold",
        "evaluation.prompts=8",
        "exact_beta=0.5",
    ),
)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its results."""
    root = tmp_path_factory.mktemp("study")
    words = (*SMALL, METHODS, f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}")
    done = forked.run(REPOSITORY / "experiments" / "panacea" / "figure5.py", words, folder=REPOSITORY)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = (root / "results" / "panacea" / "figure5").iterdir()
    return found
