"""Claims on synthetic fronts whose truth is known: true, false and undecidable ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting import statistics
from lightning_moa.reporting.claim_rows import ruled_out
from lightning_moa.reporting.claims import (
    OURS,
    Row,
    by_chance,
    claims_frame,
    judge,
    judge_several,
    sensitivity_frame,
)
from lightning_moa.reporting.metrics import metrics_frame
from lightning_moa.reporting.schema import CLAIMS

from .frames import heads_frame, points_frame

THREE = ("a", "b", "c")


def verdict_of(values: dict[int, float], relation: str, bound: float) -> object:
    return judge("claim", "figure 4", "statistic", values, relation, bound)["verdict"]


def test_hypervolume_difference_holds_fails_or_drowns_in_noise() -> None:
    metrics = metrics_frame(points_frame({"strong": 1.0, "weak": 0.8, "twin": 1.0}, noise=0.005))

    def difference(method: str, other: str) -> dict[int, float]:
        return statistics.metric_difference(metrics, "hypervolume", method, other, "gold")

    assert verdict_of(difference("strong", "weak"), ">", 0) == "holds"
    assert verdict_of(difference("weak", "strong"), ">", 0) == "fails"
    assert verdict_of(difference("strong", "twin"), ">", 0) == "within noise"
    assert verdict_of(difference("strong", "twin"), "within", 0.1) == "holds"
    assert verdict_of(difference("strong", "weak"), "within", 0.1) == "fails"


def test_relative_differences_are_shares_of_the_other() -> None:
    assert statistics.paired({0: 3.0}, {0: -2.0}, relative=True) == {0: 2.5}
    with pytest.raises(UserError, match="differ"):
        statistics.paired({0: 1.0, 1: 1.0}, {0: 1.0})


@pytest.mark.parametrize("objectives", [("helpful", "harmless"), THREE])
def test_monotone_fronts_and_collapsed_ones(objectives: tuple[str, ...]) -> None:
    points = points_frame({"good": 1.0, "collapsed": 0.0}, objectives=objectives, step=0.1)
    for objective in objectives:
        rising = statistics.largest_fall(points, "good", objective, "gold")
        assert verdict_of(rising, "<", 0.1) == "holds"
        flat = statistics.largest_fall(points, "collapsed", objective, "gold")
        assert verdict_of(flat, "<", 0.1) != "holds"
        assert min(flat.values()) > 0.1


def test_largest_fall_by_hand() -> None:
    points = points_frame({"x": 1.0}, seeds=(0,), step=0.25)

    def fall(values: list[float]) -> float:
        return statistics.largest_fall(points.assign(gold_helpful=values), "x", "helpful", "gold")[0]

    assert fall([0.0, 4.0, 3.0, 8.0, 10.0]) == 0.1
    assert fall([0.0, 2.0, 3.0, 8.0, 10.0]) == -0.1
    assert fall([0.0, 2.5, 5.0, 7.5, 10.0]) == -0.25
    assert fall([4.0, 3.0, 2.0, 1.0, 0.0]) == 0.25
    assert fall([0.0, 9.0, 0.0, 9.0, 0.0]) == 1.0
    assert fall([1.0] * 5) == 1.0


@pytest.mark.parametrize("objectives", [("helpful", "harmless"), THREE])
def test_hull_depth_tells_bulging_fronts_from_sagging_ones(objectives: tuple[str, ...]) -> None:
    def depth(power: float) -> float:
        points = points_frame({"x": 1.0}, (0,), objectives, power=power, step=0.25, noise=0)
        return statistics.hull_depth(points, "x", "gold")[0]

    assert depth(0.5) == 0
    assert depth(1.0) == 0
    m = len(objectives)
    if m == 2:
        # The middle (1/4, 1/4) of the sagging front lies 1/4 below the chord, along the diagonal.
        assert depth(2.0) == pytest.approx(1 / 4)
    assert depth(2.0) > 0.15


def test_hull_depth_does_not_depend_on_units_and_ignores_dominated_points() -> None:
    points = points_frame({"x": 1.0}, (0,), power=2.0, step=0.25, noise=0)
    scaled = points.assign(gold_helpful=points["gold_helpful"] * 50 - 7)
    worse = points.assign(policy="worse", gold_helpful=-1.0, gold_harmless=-1.0)
    depth = statistics.hull_depth(points, "x", "gold")[0]
    assert statistics.hull_depth(scaled, "x", "gold")[0] == pytest.approx(depth)
    assert statistics.hull_depth(pd.concat([points, worse]), "x", "gold")[0] == pytest.approx(depth)


def test_scalarised_difference_by_hand_and_in_the_interior() -> None:
    points = points_frame({"x": 1.0, "y": 1.0}, (0, 1), step=0.5, noise=0)
    middle = (points["method"] == "x") & (points["lambda_helpful"] == 0.5)
    points.loc[middle, "gold_helpful"] += 3.0
    whole = statistics.scalarised_difference(points, "x", "y", "gold")
    assert whole == {0: pytest.approx(0.5), 1: pytest.approx(0.5)}
    assert statistics.scalarised_difference(points, "x", "y", "gold", 0.3)[1] == pytest.approx(1.5)
    with pytest.raises(UserError, match="share no preference"):
        statistics.scalarised_difference(points, "x", "y", "gold", 0.9)


def test_domination_gap_and_best_value() -> None:
    points = points_frame({"x": 1.0, "y": 0.5}, (0, 1), noise=0)
    ends = points_frame({"x": 1.0, "y": 0.5}, (0, 1), step=1.0, noise=0)
    assert statistics.domination_gap(ends, "x", "y", "gold") == {0: 0.0, 1: 0.0}
    assert max(statistics.domination_gap(points, "x", "y", "gold").values()) < -0.3
    assert statistics.domination_gap(points, "y", "x", "gold") == {0: 0.5, 1: 0.5}
    assert statistics.best_value(points, "y", "harmless", "gold") == {0: 0.5, 1: 0.5}


def test_single_seeds() -> None:
    assert verdict_of({0: 5.0}, ">", 0) == "one seed"


def test_the_frame_keeps_order_and_is_checked() -> None:
    rows = [
        judge("b", "w", "s", {0: 1.0, 1: 1.1}, ">", 0),
        judge("a", "w", "s", {0: 1.0}, ">", 0, whose=OURS),
        judge("c", "w", "s", {0: 1.0, 1: 1.1, 2: 1.2}, ">", 0),
    ]
    frame = claims_frame(rows)
    assert frame["claim"].tolist() == ["b", "a", "c"]
    assert frame["whose"].tolist() == ["paper", "ours", "paper"]
    assert frame["seeds"].tolist() == [2, 1, 3]
    assert np.isnan(frame["ci_low"].iloc[1])
    for wrong in ({"verdict": "fails"}, {"p": 0.01}, {"whose": "theirs"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            claims_frame([rows[0] | wrong])
    with pytest.raises(UserError, match="relation"):
        judge("a", "w", "s", {0: 1.0}, "=", 0)


def test_rows_that_are_looked_at_together_are_adjusted_together() -> None:
    # Its p is .044; one of two such rows would have to be below .025.
    narrow: Row = judge("a", "w", "s", {0: 1.0, 1: 1.5, 2: 2.2}, ">", 0)
    assert narrow["verdict"] == "holds"
    assert 0.025 < float(str(narrow["p"])) < 0.05
    wide = judge("b", "w", "s", {0: -1.0, 1: 1.0, 2: 0.1}, ">", 0)
    assert claims_frame([narrow])["verdict_holm"].tolist() == ["holds"]
    both = claims_frame([narrow, wide, judge("c", "w", "s", {0: 1.0, 1: 1.001, 2: 1.002}, ">", 0)])
    assert both["verdict"].tolist() == ["holds", "within noise", "holds"]
    assert both["verdict_holm"].tolist() == ["within noise", "within noise", "holds"]
    assert by_chance(both) == pytest.approx(3 * 0.025)
    with pytest.raises(UserError, match="verdict_holm"):
        CLAIMS.check(both.assign(verdict_holm="holds"), "x")


def test_level_is_not_the_same_as_not_knowing() -> None:
    values = {0: 0.01, 1: -0.01, 2: 0.005}
    level = judge("a", "w", "s", values, ">", 0, margin=0.05)
    noise = judge("b", "w", "s", values, ">", 0, margin=0.02)
    none = judge("c", "w", "s", values, ">", 0)
    frame = claims_frame([level, noise, none])
    assert frame["verdict"].tolist() == ["level", "within noise", "within noise"]
    assert list(frame)[list(frame).index("bound") + 1] == "margin"
    assert np.isnan(frame["margin"].iloc[2])
    # A row's margin changes no other number, and no verdict that holds or fails.
    assert {name for name in none if level[name] != none[name] and name != "claim"} == {"margin", "verdict"}
    with pytest.raises(UserError, match="'level', the numbers say 'within noise'"):
        CLAIMS.check(frame.assign(margin=0.001), "x")
    with pytest.raises(UserError, match="'margin'"):
        CLAIMS.check(frame.assign(margin=-0.1), "x")
    for relation, margin in ((">", -0.1), ("within", 0.1), (">", np.nan), (">", np.inf)):
        with pytest.raises(UserError, match="margin"):
            judge("a", "w", "s", values, relation, 0.1, margin=margin)


def test_files_without_margins_are_taken_as_they_are(tmp_path: Path) -> None:
    old = claims_frame([judge("a", "w", "s", {0: 0.1, 1: -0.1}, ">", 0)]).drop(columns="margin")
    CLAIMS.write(old, tmp_path / "claims.csv")
    assert "margin" not in CLAIMS.read(tmp_path / "claims.csv")
    assert CLAIMS.read(tmp_path / "claims.csv")["verdict"].tolist() == ["within noise"]


def test_only_noise_rules_something_out() -> None:
    rows = claims_frame(
        [
            judge("a", "w", "s", {0: 0.25, 1: -0.25}, ">", 0),
            judge("b", "w", "s", {0: 1.0}, ">", 0),
            judge("c", "w", "s", {0: 1.0, 1: 1.1}, ">", 0),
        ]
    )
    said = [ruled_out(row) for row in rows.to_dict("records")]
    assert said == ["rules out more than 3.2 above and 3.2 below the bound", "", ""]


def test_what_hangs_on_the_reference_point_is_shown_and_nothing_else() -> None:
    def rows_at(name: str) -> list[Row]:
        volume = {"rule": 1.0, "far": -1.0}[name]
        return [
            judge("moves", "w", "hypervolume", {0: volume, 1: 1.1 * volume, 2: 1.2 * volume}, ">", 0),
            judge("stays", "w", "regret", {0: 1.0, 1: 1.1}, ">", 0),
        ]

    frame = sensitivity_frame(rows_at, ("rule", "far"))
    assert frame[["claim", "reference", "verdict"]].to_numpy().tolist() == [
        ["moves", "rule", "holds"],
        ["moves", "far", "fails"],
    ]
    assert sensitivity_frame(lambda name: rows_at("far"), ("rule", "far")).empty


def test_what_is_not_there_is_named() -> None:
    points = points_frame({"x": 1.0})
    with pytest.raises(UserError, match=r"no method 'y'.*there are x"):
        statistics.hull_depth(points, "y", "gold")
    with pytest.raises(UserError, match="accuracy"):
        statistics.hull_depth(points, "x", "accuracy")
    with pytest.raises(UserError, match="no objective 'funny'"):
        statistics.largest_fall(points, "x", "funny", "gold")
    with pytest.raises(UserError, match="no preference"):
        statistics.largest_fall(heads_frame(), "ham", "helpful", "gold")
    with pytest.raises(UserError, match="no method"):
        statistics.metric(metrics_frame(points), "igd", "y", "gold")
    # An empty cell is NaN, which no claim can be judged by.
    steps = statistics.metric(metrics_frame(points), "training_steps", "x", "gold")
    with pytest.raises(UserError, match="training steps: nan for seed 0"):
        judge("fast", "table", "training steps", steps, "<", 5)


def drawn_gaps(
    random: np.random.Generator, others: dict[str, float], seeds: int = 10
) -> dict[str, dict[int, float]]:
    """A method at 0 less each of the others, whose noise is as its own."""
    mine = random.normal(size=seeds)
    return {name: dict(enumerate(mine - random.normal(true, size=seeds))) for name, true in others.items()}


@pytest.mark.parametrize("every", [True, False])
def test_of_equals_none_is_said_to_be_behind_or_ahead(every: bool) -> None:
    """Where the difference to the best of eight in each seed would nearly always be below 0."""
    random, equals, found = np.random.default_rng(0), dict.fromkeys("abcdefg", 0.0), []
    for _ in range(400):
        gaps = drawn_gaps(random, equals)
        row = judge_several("best", "table", "its reward -", gaps, ">", 0, every=every)
        found.append(row["verdict"])
    assert found.count("fails" if every else "holds") < 0.04 * 400
    assert found.count("holds" if every else "fails") < 0.02 * 400


def test_a_claim_about_every_comparison_is_decided_by_one() -> None:
    random = np.random.default_rng(1)

    def row(others: dict[str, float], **options: bool) -> Row:
        gaps = drawn_gaps(random, others)
        return judge_several("best", "table", "its reward -", gaps, ">", 0, margin=0.1, **options)

    best = row({"far": -20.0, "near": -5.0, "middle": -10.0})
    assert (best["verdict"], best["statistic"]) == ("holds", "its reward - near > bound")
    beaten = row({"far": -20.0, "better": 5.0, "much": 9.0})
    assert (beaten["verdict"], beaten["statistic"]) == ("fails", "its reward - much > bound")
    unknown = row({"far": -20.0, "alike": 0.0})
    assert (unknown["verdict"], unknown["statistic"]) == ("within noise", "its reward - alike > bound")
    assert row({"far": -20.0, "better": 5.0}, every=False)["statistic"] == "its reward - far > bound"
    worst = row({"better": 5.0, "much": 9.0}, every=False)
    assert (worst["verdict"], worst["statistic"]) == ("fails", "its reward - better > bound")
    # Level with one and unknown beside another is unknown, though the first is farther ahead.
    gaps = {"near": dict(enumerate([0.1, -0.12] * 5)), "far": dict(enumerate([9.0, -8.0] * 5))}
    mixed = judge_several("best", "table", "x -", gaps, ">", 0, margin=0.5)
    assert (mixed["verdict"], mixed["statistic"]) == ("within noise", "x - far > bound")
    # What decides was picked by its value, unless every one says the same.
    gaps = drawn_gaps(random, {"a": 0.5, "b": 0.0, "c": 0.0})
    picked = judge_several("best", "table", "x -", gaps, ">", 0)
    name = str(picked["statistic"]).split()[2]
    alone = judge("best", "table", f"x - {name}", gaps[name], ">", 0)
    assert picked["value"] == alone["value"] == min(np.mean(list(each.values())) for each in gaps.values())
    assert float(str(picked["ci_high"])) > float(str(alone["ci_high"]))
    assert set(claims_frame([best, beaten, unknown, picked])) == set(claims_frame([alone]))


def test_several_comparisons_need_a_direction() -> None:
    for relation, gaps in (("within", {"a": {0: 1.0}}), (">", {})):
        with pytest.raises(UserError, match="others, and a relation with a direction, are needed"):
            judge_several("best", "table", "x -", gaps, relation, 0)
