"""One trained study of the small world, which all tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = (
    *("scale=smoke", "workers=1", "methods=[panacea_ls]", "sft.steps=80", "reward_model.steps=2"),
    *("dpo.steps=100", "dpo.lr=0.1", "dpo.batch_size=64", "evaluation.prompts=16"),
)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its results."""
    for package in ("starlette", "uvicorn", "plotly"):
        pytest.importorskip(package, reason="the extra `demo` is not installed")
    root = tmp_path_factory.mktemp("demo")
    words = (*WORDS, f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}")
    done = forked.run(REPOSITORY / "experiments" / "panacea" / "figure5.py", words, folder=REPOSITORY)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = (root / "results" / "panacea" / "figure5").iterdir()
    return found
