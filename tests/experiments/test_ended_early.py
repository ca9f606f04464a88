"""Panacea's figures of a study in which one seed's training ended earlier than the others'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.experiments.made_up import SEEDS, STEPS, TWO, made_up, tables_of
from tests.experiments.scripts import REPOSITORY, load, settings

PANACEA = REPOSITORY / "experiments" / "panacea"
EARLY = SEEDS[0]


def study(figure):
    """Panacea's rows and tables, the first seed's last ones at a step before the others'."""
    collected = made_up(np.random.default_rng(0), settings(figure)[1], TWO, snapshots=("panacea",))
    ended = {
        name: frame.assign(
            step=frame["step"].mask((frame["seed"] == EARLY) & (frame["step"] == STEPS[-1]), 2)
        )
        for name, frame in (("points", collected.points), ("responses", collected.responses))
    }
    collected = replace(collected, **ended)
    return collected, tables_of("panacea", "figure", collected)


def test_figure_3_shows_each_seeds_own_last_step():
    module = load(PANACEA / "figure3.py")
    collected, tables = study(module)
    shown = module.shown_responses(collected).query("method == 'panacea'")
    assert shown.groupby("seed")["step"].unique().map(list).to_dict() == {0: [2], 1: [4], 2: [4]}
    rows = module.judge_claims(collected, tables, module.shown_responses(collected))
    assert all(np.isfinite(row["value"]) for row in rows)


def test_figure_4_does_not_take_an_early_end_for_a_snapshot():
    module = load(PANACEA / "figure4.py")
    collected, tables = study(module)
    both = module.learned_early(collected, tables, "helpful")
    points = tables.points.assign(step=tables.points["step"].replace(2, STEPS[-1]))
    assert both == module.learned_early(collected, replace(tables, points=points), "helpful")


def test_figure_6_is_of_all_seeds():
    module = load(PANACEA / "figure6.py")
    _, tables = study(module)
    assert set(module.end_to_end(tables, "helpful", "gold")) == set(SEEDS)
