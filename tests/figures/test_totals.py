"""One policy for all preferences at equal terms with several: as many updates as each, or as all of them."""

import pytest

from lightning_moa.config import MethodConfig
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.totals import TotalsConfig, total_name, with_totals
from lightning_moa.methods.products import DPS_PPO, PANACEA_PPO, REWARDED_SOUPS_PPO
from lightning_moa.study.chosen import schema_of

METHODS = {"panacea": PANACEA_PPO, "rewarded_soups": REWARDED_SOUPS_PPO, "dps": DPS_PPO}
BASELINES = ("rewarded_soups", "dps")


def config(**changes):
    made = schema_of(METHODS, TotalsConfig)(data=SyntheticConfig(), **changes)
    made.ppo.steps = 150
    return made


def test_the_sum_of_a_baselines_updates_and_nothing_else_changes():
    given = config(methods={"panacea": MethodConfig(lr=0.5, snapshots=[0.1])})
    own, methods = with_totals(given, METHODS, "ppo", "panacea", BASELINES)
    added = {name: own.methods[name] for name in methods if name not in METHODS}
    assert {name: each.steps for name, each in added.items()} == {
        "panacea_as_all_of_rewarded_soups": 2 * 150,
        "panacea_as_all_of_dps": 11 * 150,
    }
    assert all(
        methods[name] is PANACEA_PPO and each.lr == 0.5 and not each.snapshots for name, each in added.items()
    )
    assert list(given.methods) == ["panacea"], "the script's own settings stay"


def test_a_baselines_own_updates_count_and_so_do_objectives_and_grid():
    given = config(objectives=["helpful", "harmless", "concise"], methods={"dps": MethodConfig(steps=10)})
    given.evaluation.grid_step = 0.5
    own, _ = with_totals(given, METHODS, "ppo", "panacea", BASELINES)
    assert own.methods[total_name("panacea", "rewarded_soups")].steps == 3 * 150
    assert own.methods[total_name("panacea", "dps")].steps == 6 * 10


def test_it_can_be_left_out_and_is_refused_where_no_sum_is_known():
    assert with_totals(config(equal_totals=False), METHODS, "ppo", "panacea", BASELINES)[1] is METHODS
    given = config()
    given.ppo.steps = None
    assert with_totals(given, METHODS, "ppo", "panacea", BASELINES)[1] is METHODS, (
        "of epochs, unless asked for"
    )
    given.equal_totals = True
    with pytest.raises(UserError, match=r"equal_totals=true: ppo.steps is needed"):
        with_totals(given, METHODS, "ppo", "panacea", BASELINES)
    assert with_totals(given, {"panacea": PANACEA_PPO}, "ppo", "panacea", BASELINES)[1].keys() == {"panacea"}
