"""Two scales side by side: what agrees, what does not, and the order of methods."""

from __future__ import annotations

from itertools import permutations

import pandas as pd
import pytest
from scipy.stats import kendalltau

from lightning_moa.reporting.claims import claims_frame, judge
from lightning_moa.reporting.schema import METRICS
from lightning_moa.reporting.transfer import Roles, compared_claims, order, pairs_of, parts_of, side_by_side


def claims(**verdicts):
    rows = [
        {
            "claim": name,
            "statistic": "x",
            "value": 1.0,
            "ci_low": 0.0,
            "ci_high": 2.0,
            "verdict": said,
            "over": "seeds",
        }
        for name, said in verdicts.items()
    ]
    return pd.DataFrame(rows)


def test_what_both_say_agrees_and_what_one_does_not_know_is_unknown():
    small = claims(
        a="holds", b="fails", c="holds", d="within noise", e="holds", f="holds", h="level", i="level"
    )
    other = claims(a="holds", b="fails", c="fails", d="holds", e="one seed", g="holds", h="level", i="fails")
    found = compared_claims(small, other).set_index("claim")["together"].to_dict()
    assert found == {
        "a": "agree",
        "b": "agree",
        "c": "disagree",
        "d": "unknown",
        "e": "unknown",
        "h": "agree",
        "i": "unknown",
    }


def test_the_order_is_kendalls_tau_of_means_and_its_range_that_of_pairs_of_seeds():
    names = ["p", "q", "r", "s"]
    values = [list(each) for each in permutations([1.0, 2.0, 3.0, 4.0])][:4]
    mine = {seed: pd.Series(value, index=names) for seed, value in enumerate(values[:3])}
    theirs = {0: pd.Series([*values[3], 9.0], index=[*names, "t"])}
    found = order(mine, theirs)
    taus = [kendalltau(value, values[3]).statistic for value in values[:3]]
    assert (found["lowest"], found["highest"]) == pytest.approx((min(taus), max(taus)))
    means = pd.DataFrame(values[:3]).mean()
    assert found["tau"] == pytest.approx(kendalltau(means, values[3]).statistic)
    assert (found["methods"], found["small_seeds"], found["other_seeds"]) == (4, 3, 1)
    assert order(mine, {}) is None
    assert order(mine, {0: pd.Series([1.0, 2.0], index=["p", "q"])}) is None


def test_names_of_another_world_stand_for_those_at_the_same_place():
    small = claims(
        **{"risky, kind: PPO on kind < kinder": "holds", "unkind is kind": "fails", "only here": "holds"}
    )
    other = claims(
        **{"set_3, long: PPO on long < kinder": "holds", "unkind is long": "holds", "risky": "holds"}
    )
    roles = (
        Roles({"kind": "objective 1", "risky": "part 1"}),
        Roles({"long": "objective 1", "set_3": "part 1"}),
    )
    found = compared_claims(small, other, *roles)
    assert found["claim"].tolist() == ["risky, kind: PPO on kind < kinder", "unkind is kind"]
    assert found["other_claim"].tolist() == ["set_3, long: PPO on long < kinder", "unkind is long"]
    assert found["together"].tolist() == ["agree", "disagree"]
    assert roles[0]("ppo_kind") == roles[1]("ppo_long") == "ppo_objective 1"
    # A scale without parts has no name for the one that there is, and what has been replaced is not read again.
    assert Roles({"": "part 1"})("kind") == "kind"
    assert Roles({"kind": "long", "long": "kind"})("kind, long") == "long, kind"


def laid(folder, parts, objectives, heights):
    """A result with parts, whose claims name the last part first."""
    methods = [f"ppo_{objectives[0]}", "linear", "sft"]
    said = [f"{part}, {objectives[0]}: linear < {methods[0]}" for part in reversed(parts)]
    for part in parts:
        (folder / part).mkdir(parents=True)
        of = {"paper": "gapo", "artefact": "table", "scale": folder.name, "seed": 0, "space": "gold"}
        measured = dict.fromkeys([f"reference_{name}" for name in objectives], 0.0) | {"non_dominated": 1}
        rows = [
            {**of, **measured, "method": method, "hypervolume": height}
            for method, height in zip(methods, heights[part], strict=True)
        ]
        frame = pd.DataFrame(rows, columns=list(METRICS.names(tuple(objectives))))
        frame.to_csv(folder / part / "metrics.csv", index=False)
    rows = [judge(each, "x", "x", {0: 1.0, 1: 1.1, 2: 1.2}, ">", 0.0) for each in said]
    claims_frame(rows).to_csv(folder / "claims.csv", index=False)
    return folder


def test_parts_are_paired_by_name_or_else_by_place(tmp_path):
    heights = {"mixed": [1.0, 2.0, 3.0], "risky": [3.0, 2.0, 1.0]}
    mine = laid(tmp_path / "tiny", ["mixed", "risky"], ["kind", "safe"], heights)
    theirs = laid(tmp_path / "laptop", ["people"], ["deep", "short"], {"people": [6.0, 4.0, 2.0]})
    assert list(parts_of(mine, pd.DataFrame({"claim": ["risky, kind: x", "mixed: y"]}))) == ["risky", "mixed"]
    found, orders = side_by_side(mine, theirs)
    assert found["claim"].tolist() == ["risky, kind: linear < ppo_kind"]
    (row,) = orders
    assert (row["of_part"], row["other_part"], row["tau"], row["methods"]) == ("risky", "people", 1.0, 3)

    same = laid(tmp_path / "laptop-a", ["mixed"], ["deep", "short"], {"mixed": [3.0, 2.0, 1.0]})
    found, orders = side_by_side(mine, same)
    assert found["claim"].tolist() == ["mixed, kind: linear < ppo_kind"]
    (row,) = orders
    assert (row["of_part"], row["other_part"], row["tau"]) == ("mixed", "mixed", -1.0)


def test_artefacts_of_both_scales_are_found_whatever_the_others_data(tmp_path):
    for name in (
        "a/one/tiny",
        "a/one/laptop-helpsteer2",
        "a/one/laptop",
        "a/two/tiny",
        "b/three/laptop",
        "b/four/tiny",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/four/laptops").mkdir()
    found = [(paper, name, theirs.name) for paper, name, _, theirs in pairs_of(tmp_path, "tiny", "laptop")]
    assert found == [("a", "one", "laptop"), ("a", "one", "laptop-helpsteer2")]
