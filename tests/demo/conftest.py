"""One trained study of the small world, which all tests of this folder share.

Its policy is small, and trained on gold rewards with little weight on the KL, so that it is sharp after a few seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = (
    *("scale=smoke", "workers=1", "data.sft_rows=12800", "data.pairs=100"),
    *("model.hidden_size=32", "model.intermediate_size=64", "model.heads=4", "adapter.rank=4"),
    *("sft.steps=200", "sft.batch_size=64", "methods.panacea.snapshots=[]"),
    *("ppo.reward=gold", "ppo.kl_coeff=0.1", "ppo.steps=100", "ppo.batch_size=64"),
    *("ppo.preferences_per_batch=8", "ppo.critic_lr=5e-3", "evaluation.prompts=16"),
)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its results."""
    for package in ("starlette", "uvicorn", "plotly"):
        pytest.importorskip(package, reason="the extra `demo` is not installed")
    root = tmp_path_factory.mktemp("demo")
    words = (*WORDS, f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}")
    done = forked.run(REPOSITORY / "experiments" / "panacea" / "figure6.py", words, folder=REPOSITORY)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = (root / "results" / "panacea" / "figure6").iterdir()
    return found
