"""Points of policies on clusters, who dominates whom, and the claims about it: against arithmetic by hand."""

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.pareto import additive_epsilon, dominates
from lightning_moa.reporting.claims import EACH, claims_frame
from lightning_moa.reporting.cluster_fronts import (
    cluster_points,
    crossing_row,
    domination_rows,
    dominations,
    front_means,
    policy_means,
)

OBJECTIVES = ("helpful", "harmless")
VALUES = ["gold_helpful", "gold_harmless"]


def rows_of(method, seed, policy, cluster, values, weights=(np.nan, np.nan), **more):
    """Responses of one policy in one cluster, a row for each pair of rewards."""
    return [
        {
            "method": method,
            "seed": seed,
            "policy": policy,
            "lambda_helpful": weights[0],
            "lambda_harmless": weights[1],
            "cluster": cluster,
            "gold_helpful": helpful,
            "gold_harmless": harmless,
            **more,
        }
        for helpful, harmless in values
    ]


@pytest.fixture
def responses() -> pd.DataFrame:
    return pd.DataFrame(
        [
            *rows_of("ham", 0, "head 1", 1, [(0, 4), (2, 4)]),
            *rows_of("ham", 0, "head 0", 1, [(0, 0)]),
            *rows_of("ham", 0, "head 1", 0, [(6, 0)]),
            *rows_of("ham", 0, "head 0", 0, [(1, 4), (1, 4), (1, 4)]),
            *rows_of("sca", 0, "0.3 0.7", 0, [(5, -1)], (0.3, 0.7)),
            *rows_of("sca", 0, "0.7 0.3", 0, [(0, 3)], (0.7, 0.3)),
        ]
    )


def scaled(margins, method="ham", other="sca"):
    """Two methods of one point each, the first ahead by a margin that each seed has of its own."""
    return pd.DataFrame(
        [
            row
            for seed, margin in enumerate(margins)
            for row in (
                *rows_of(method, seed, "head 0", 0, [(1 + margin, 1 + margin)]),
                *rows_of(other, seed, "head 0", 0, [(1, 1)]),
            )
        ]
    )


def test_points_are_means_of_a_policy_on_a_cluster(responses):
    points = cluster_points(responses, OBJECTIVES, "gold")
    expected = [
        "method",
        "seed",
        "policy",
        "lambda_helpful",
        "lambda_harmless",
        "cluster",
        *VALUES,
        "n",
        "front",
    ]
    assert list(points.columns) == expected
    assert points["policy"].tolist() == ["head 1", "head 1", "head 0", "head 0", "0.3 0.7", "0.7 0.3"]
    assert points["cluster"].tolist() == [0, 1, 0, 1, 0, 0]
    assert points[VALUES].to_numpy().tolist() == [[6, 0], [1, 4], [1, 4], [0, 0], [5, -1], [0, 3]]
    assert points["n"].tolist() == [1, 2, 3, 1, 1, 1]
    # Two equal points are both on the front; (5, -1) is on its own method's, whatever others do.
    assert points["front"].tolist() == [True, True, True, False, True, True]
    assert points["lambda_helpful"].isna().tolist() == [True] * 4 + [False] * 2


def test_policy_means_weigh_every_response_alike(responses):
    means = policy_means(responses, OBJECTIVES, "gold")
    assert "cluster" not in means
    assert means["policy"].tolist() == ["head 1", "head 0", "0.3 0.7", "0.7 0.3"]
    np.testing.assert_allclose(means[VALUES].iloc[:2], [[8 / 3, 8 / 3], [3 / 4, 3]])
    assert means["n"].tolist() == [3, 4, 1, 1]
    assert means["front"].tolist() == [True, True, True, True]


def test_policies_without_a_name_are_told_apart_by_their_preferences(responses):
    responses["policy"] = np.where(responses["method"] == "sca", None, responses["policy"])
    assert len(policy_means(responses, OBJECTIVES, "gold")) == 4


def test_a_policy_counts_with_its_last_step():
    early = rows_of("ham", 0, "head 0", 0, [(9, 9)], step=100)
    late = rows_of("ham", 0, "head 0", 0, [(1, 2)], step=200)
    once = rows_of("ham", 0, "head 1", 0, [(3, 0)], step=100)
    points = cluster_points(pd.DataFrame([*early, *late, *once]), OBJECTIVES, "gold")
    assert points[VALUES].to_numpy().tolist() == [[1, 2], [3, 0]]


def test_means_of_fronts_leave_dominated_points_out(responses):
    means = front_means(cluster_points(responses, OBJECTIVES, "gold"), OBJECTIVES, "gold")
    np.testing.assert_allclose(means[VALUES], [[8 / 3, 8 / 3], [2.5, 1]])
    assert means[["method", "n"]].to_numpy().tolist() == [["ham", 3], ["sca", 2]]


def test_dominations_are_those_of_the_fronts(responses):
    found = dominations(cluster_points(responses, OBJECTIVES, "gold"), OBJECTIVES, "gold")
    assert found.to_dict("records") == [
        {"winner": "ham", "loser": "sca", "seed": 0, "dominates": True, "epsilon": -1},
        {"winner": "sca", "loser": "ham", "seed": 0, "dominates": False, "epsilon": 1},
    ]


def test_any_number_of_methods_seeds_and_objectives():
    generator = np.random.default_rng(0)
    names = ("a", "b", "c")
    frame = pd.DataFrame(
        [
            (m, s, p, c)
            for m in ("x", "y", "z")
            for s in (2, 0)
            for p in "pq"
            for c in range(3)
            for _ in range(4)
        ],
        columns=["method", "seed", "policy", "cluster"],
    )
    for name in names:
        frame[f"lambda_{name}"] = np.nan
        frame[f"reward_{name}"] = generator.normal(size=len(frame))
    points = cluster_points(frame, names, "reward")
    found = dominations(points, names, "reward")
    assert len(found) == 6 * 2
    columns = [f"reward_{name}" for name in names]
    for row in found.itertuples():
        fronts = [
            points[(points["method"] == name) & (points["seed"] == row.seed)][columns]
            for name in (row.winner, row.loser)
        ]
        assert row.dominates == dominates(*fronts)
        assert row.epsilon == additive_epsilon(*fronts)


def test_claims_are_judged_by_the_epsilon_over_seeds():
    found = dominations(cluster_points(scaled([0.5, 0.6, 0.7]), OBJECTIVES, "gold"), OBJECTIVES, "gold")
    claims = [(*pair, holds) for pair in (("ham", ["sca"]), ("sca", ["ham"])) for holds in (True, False)]
    frame = claims_frame(domination_rows(found, claims, "Figure 3(a)", "harmless, helpful"))
    assert frame["verdict"].tolist() == ["holds", "fails", "fails", "holds"]
    assert frame["claim"].tolist()[:2] == [
        "harmless, helpful: HaM dominates SCA",
        "harmless, helpful: HaM doesn't dominate SCA",
    ]
    assert frame["statistic"].iloc[1] == "additive epsilon of HaM's front over SCA's > bound"
    np.testing.assert_allclose(frame["value"], [-0.6, -0.6, 0.6, 0.6])


def test_that_none_dominates_takes_every_pair():
    apart = dominations(cluster_points(scaled([0.5, 0.6, 0.7]), OBJECTIVES, "gold"), OBJECTIVES, "gold")
    row = crossing_row(apart, ("ham", "sca"), "Figure 3(c)", "online")
    assert row["claim"] == "online: of HaM and SCA none dominates another"
    assert (row["verdict"], row["value"]) == ("fails", pytest.approx(-0.6))
    assert row["statistic"] == "additive epsilon of HaM's front over SCA's > bound"
    crossed = apart.assign(epsilon=apart["epsilon"].abs() + apart["winner"].eq("sca"))
    row = crossing_row(crossed, ("ham", "sca"), "here", "")
    assert (row["verdict"], row["value"]) == ("holds", pytest.approx(0.6))
    assert [*row[EACH]] == [
        f"additive epsilon of {a}'s front over {b}'s > bound" for a, b in (("HaM", "SCA"), ("SCA", "HaM"))
    ]


@pytest.mark.parametrize(("margins", "verdict"), [([0.5, -0.4, 0.1], "within noise"), ([0.5], "one seed")])
def test_noise_and_single_seeds_decide_nothing(margins, verdict):
    found = dominations(cluster_points(scaled(margins), OBJECTIVES, "gold"), OBJECTIVES, "gold")
    for holds in (True, False):
        (row,) = domination_rows(found, [("ham", ["sca"], holds)], "here", "")
        assert row["verdict"] == verdict
        assert row["claim"] == ("HaM dominates SCA" if holds else "HaM doesn't dominate SCA")


def test_what_is_missing_is_named(responses):
    points = cluster_points(responses, OBJECTIVES, "gold")
    with pytest.raises(UserError, match="missing column cluster"):
        cluster_points(responses.drop(columns="cluster"), OBJECTIVES, "gold")
    with pytest.raises(UserError, match="missing column reward_helpful, reward_harmless"):
        policy_means(responses, OBJECTIVES, "reward")
    with pytest.raises(UserError, match="missing column front"):
        dominations(points.drop(columns="front"), OBJECTIVES, "gold")
    with pytest.raises(UserError, match="responses: no rows"):
        cluster_points(responses[:0], OBJECTIVES, "gold")
    with pytest.raises(UserError, match="objectives: none"):
        cluster_points(responses, (), "gold")
    with pytest.raises(UserError, match="no pair 'ham', 'ric'; allowed are two of ham, sca"):
        domination_rows(dominations(points, OBJECTIVES, "gold"), [("ham", ["ric"], True)], "here", "")
    responses.loc[3, "gold_harmless"] = np.nan
    with pytest.raises(UserError, match="a gold reward of 'ham', seed 0 is not finite"):
        cluster_points(responses, OBJECTIVES, "gold")


def test_methods_are_compared_on_the_same_seeds():
    frame = scaled([0.1, 0.2])
    points = cluster_points(frame[(frame["method"] == "ham") | (frame["seed"] == 0)], OBJECTIVES, "gold")
    with pytest.raises(UserError, match=r"seeds of 'ham' \[0, 1\] and of 'sca' \[0\] differ"):
        dominations(points, OBJECTIVES, "gold")
