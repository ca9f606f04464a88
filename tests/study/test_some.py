"""Some of a script's methods, conducted at its own command line: a folder of their own, the script's left as it was."""

from __future__ import annotations

import pandas as pd
import pytest

from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.reporting.run_record import read_run_record
from tests import forked
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "experiments" / "panacea" / "figure5.py"
QUICK = [
    *("scale=smoke", "seeds=[0]", "workers=1", "code_in_key=false"),
    *("sft.steps=3", "reward_model.steps=2", "dpo.steps=2", "ppo.steps=1", "ppo.max_new_tokens=4"),
    *("evaluation.grid_step=1", "evaluation.prompts=8", "evaluation.max_new_tokens=4"),
]
OWN = PANACEA_PPO


def start(root, *words):
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    quick = [word for word in QUICK if not word.startswith("ppo") or "own" in "".join(words).lower()]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    return forked.run(SCRIPT, [*quick, *folders, *words], folder=root, environment=environment)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The script's own results, and then those of two of its methods."""
    root = tmp_path_factory.mktemp("some")
    done = start(root)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [path.name for path in (root / "results" / "panacea" / "figure5").iterdir()] == ["smoke"]
    return root


def test_two_of_the_methods(root):
    full = root / "results" / "panacea" / "figure5" / "smoke"
    before = files(full)
    runs = {path.name for path in (root / "runs").iterdir()}
    done = start(root, "methods=[panacea_ls,rewarded_soups]")
    assert done.returncode == 0, done.stderr[-3000:]
    assert files(full) == before
    assert {path.name for path in (root / "runs").iterdir()} == runs, "nothing was trained again"
    assert "claims: not asked, for they are about all of the script's methods" in done.stdout
    (own,) = set(full.parent.iterdir()) - {full}
    assert own.name == "smoke-panacea_ls+rewarded_soups"
    assert {path.name for path in own.iterdir()} == {
        *("points.csv", "accuracies.csv", "metrics.csv", "costs.csv", "timings.csv", "exact_front.csv"),
        "reward_models.csv",
        "run.yaml",
        "fronts.png",
    }
    for name in ("points.csv", "accuracies.csv"):
        mine, all_of = pd.read_csv(own / name), pd.read_csv(full / name)
        kept = all_of[all_of["method"].isin(["panacea_ls", "rewarded_soups", "sft"])]
        same = [column for column in mine if column != "scale"]
        pd.testing.assert_frame_equal(mine[same], kept[same].reset_index(drop=True))
        assert set(mine["scale"]) == {own.name}
    assert set(pd.read_csv(own / "metrics.csv")["method"]) >= {"panacea_ls", "rewarded_soups"}
    reference = pd.read_csv(own / "points.csv").query("method == 'sft'")
    assert (reference.filter(like="reward_").abs() < 1e-12).all(axis=None), "of the seed's own model"
    assert (reference.filter(like="gold_").abs() > 1e-3).all(axis=None), "the world's own, as they are"
    assert "less its mean over the reference" in read_run_record(own / "run.yaml")["rewards"]["reward"]
    assert "dps" not in read_run_record(own / "run.yaml")["config"]["methods"]


def test_a_method_of_ones_own_beside_one_of_the_scripts(root):
    """Of another objective: with the sections that it brings, and the weight of the exact front's KL said."""
    words = ["methods=[panacea_ls, 'tests.study.test_some:OWN']", "ppo.kl_coeff=0.3"]
    refused = start(root, *words)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(
        "error: exact_beta: the methods are trained under different"
    )
    done = start(root, *words, "exact_beta=0.3")
    assert done.returncode == 0, done.stderr[-3000:]
    folder = root / "results" / "panacea" / "figure5" / "smoke-panacea_ls+own"
    points = pd.read_csv(folder / "points.csv")
    assert set(points["method"]) == {"panacea_ls", "own", "sft"}
    # Implicit accuracies are asked of what was trained on pairs.
    assert set(pd.read_csv(folder / "accuracies.csv")["method"]) == {"panacea_ls"}
    assert read_run_record(folder / "run.yaml")["config"]["ppo"]["kl_coeff"] == 0.3


def test_a_name_that_is_no_method_is_one_line(root):
    done = start(root, "methods=[panacea]")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: methods=panacea: allowed are panacea_ls, panacea_tche, rewarded_soups, dps, all for all of them, and a "
        "Product of one's own as module:NAME"
    ]
