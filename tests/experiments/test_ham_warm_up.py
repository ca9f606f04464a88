"""HaM's figure over warm-ups, at smoke: its files, its claims from its CSVs, what it plans and what it refuses."""

from __future__ import annotations

import importlib.util
import io
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.figures.panels import methods_of, settings_of
from lightning_moa.figures.scalarised import scalarised_share
from lightning_moa.reporting.schema import CLAIMS, METRICS
from lightning_moa.study.planning import plan_study
from lightning_moa.task_files import HEADS
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "experiments" / "ham" / "figure_warm_up.py"
NAMES = ["ham_0", "ham_50", "ham_all_fronts", "sca_heads", "sca"]


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("figure_warm_up", SCRIPT)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["figure_warm_up"] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def configure(module, root, *words):
    folders = (f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}", "workers=1")
    words = ("scale=smoke", "code_in_key=false", "warm_ups=[0,0.5]", *folders, *words)
    return module.STUDY.read(words)[0]


@pytest.fixture(scope="module")
def made(module, tmp_path_factory):
    root, shown = tmp_path_factory.mktemp("warm_up"), io.StringIO()
    module.main(configure(module, root, "panels=[a]"), Console(file=shown, width=200))
    return root, shown.getvalue()


@pytest.fixture(scope="module")
def folder(made):
    return made[0] / "results" / "ham" / "figure_warm_up" / "smoke-a"


def test_rows_are_what_the_runs_have_left(made, folder):
    rows = pd.read_csv(folder / "a" / "warm_up.csv").set_index("method")
    assert rows.index.tolist() == NAMES
    # Of four updates the first, while the rate rises from 0, has none of it: 0, 1, 2/3, 1/3.
    assert rows["scalarised_share"].tolist() == pytest.approx([0, 0.5, 0, 1, 1])
    metrics = METRICS.read(folder / "a" / METRICS.file)
    volumes = metrics[metrics["space"] == "gold"].set_index("method")["hypervolume"]
    assert rows["hypervolume"].to_dict() == pytest.approx(volumes[NAMES].to_dict())
    assert rows["alive"].notna().tolist() == [True, True, True, True, False], "no one looks at single heads"
    looks = {path.parent.name: pd.read_csv(path) for path in (made[0] / "runs").glob(f"*/{HEADS}")}
    ends = [look[look["step"] == look["step"].max()]["alive"].mean() for look in looks.values()]
    assert sorted(ends) == pytest.approx(sorted(rows["alive"].dropna()))
    assert (folder / "figure_warm_up.png").stat().st_size > 10_000
    assert "ham figure_warm_up a" in made[1], "the printed table"


def test_claims_follow_from_the_rows(folder):
    claims = CLAIMS.read(folder / CLAIMS.file).set_index("claim")["value"]
    rows = pd.read_csv(folder / "a" / "warm_up.csv").set_index("method")
    volume, words = rows["hypervolume"], "small model, offline"
    assert len(claims) == 6
    for claim, value in {
        "most of HaM's heads live without a warm-up": rows["margin"]["ham_0"],
        "most of HaM's heads live with a hypervolume for each front": rows["margin"]["ham_all_fronts"],
        "it spans more than a warm-up of 50% of the updates": volume["ham_all_fronts"] - volume["ham_50"],
        "it spans more than SCA's models": volume["ham_all_fronts"] - volume["sca"],
        "a warm-up of 50% spans more than SCA's heads": volume["ham_50"] - volume["sca_heads"],
    }.items():
        assert claims[f"{words}: {claim}"] == pytest.approx(value), claim


def test_every_panel_is_planned_with_the_runs_of_the_other_figures(module, tmp_path):
    config = configure(module, tmp_path)
    panels = {words: (own, methods) for words, own, methods in module.studies(config)}
    assert list(panels) == [words for words, *_ in module.SHOWN.values()]
    own, methods = panels["small model, three objectives"]
    assert own.objectives == ["harmless", "helpful", "humorous"]
    assert len(methods["sca"].trained_on.preferences(3, 0.5)) == 10
    own, methods = panels["small model, online"]
    mine = plan_study(own, methods).seeds[0].evaluations
    theirs = plan_study(settings_of(config, module.TWO, online=True), methods_of(2)).seeds[0].evaluations
    assert mine["sca"].key == theirs["sca"].key
    # The other figures' HaM is the paper's: of the first front alone, with no warm-up.
    assert mine["ham_0"].key == theirs["ham"].key != mine["ham_all_fronts"].key


def test_warm_ups_are_shares_of_the_updates(module, tmp_path):
    """The numbers of the committed configuration: half of its updates were three quarters of its way."""
    config = module.STUDY.read(["scale=tiny", f"runs_dir={tmp_path}", "panels=[a]"])[0]
    ((_, own, methods),) = module.studies(config)
    shares = {name: scalarised_share(own, name, each) for name, each in methods.items() if "ham" in name}
    assert list(shares) == ["ham_0", "ham_5", "ham_10", "ham_25", "ham_50", "ham_all_fronts"]
    assert list(shares.values()) == pytest.approx([0, 0.07, 0.17, 0.42, 0.74, 0], abs=0.01)


def test_shares_that_are_as_many_updates_are_one(module):
    assert list(module.methods_of(2, [0.0, 0.1, 0.5, 0.6], 4))[:2] == ["ham_0", "ham_50"]
    assert list(module.methods_of(2, [0.1, 0.0, 0.5], 4))[:2] == ["ham_0", "ham_50"], (
        "none is called as it is"
    )


def test_heads_that_nobody_looked_at_are_judged_by_their_hypervolumes(module):
    rows = pd.DataFrame(
        {"method": name, "seed": seed, "margin": float("nan"), "hypervolume": 1.0 + 0.1 * i + 0.01 * seed}
        for i, name in enumerate(NAMES)
        for seed in range(3)
    )
    panel = module.Panel("a", None, SimpleNamespace(space="gold"), None, rows)
    assert len(module.judge_panel(panel)) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["panels=[]"], r"panels=\[\]: allowed are a, b, c, d"),
        (["panels=[e]"], "allowed are a, b, c, d"),
        (["warm_ups=[0.1,0.5]"], "0 and another among them"),
        (["warm_ups=[0]"], "0 and another among them"),
        (["warm_ups=[0,0.5,0.5]"], "different shares"),
        (["warm_ups=[0,1.5]"], "shares from 0 to 1"),
        (["warm_ups=[0,0.01]"], "none is an update of 4"),
        (["objectives=[helpful,harmless]"], "each panel has its own"),
    ],
)
def test_what_it_refuses(module, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        module.studies(configure(module, tmp_path, *words))
