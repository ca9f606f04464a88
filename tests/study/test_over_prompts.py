"""Claims of one seed, with intervals over prompts and pairs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.reporting.claims import judge
from lightning_moa.study.collect import Collected
from lightning_moa.study.over_prompts import Redraws, _again, over_prompts, over_prompts_of_all

NAMES = ("helpful", "concise")
PROMPTS = 100


def collected(gap: float = 0.0, seeds: tuple[int, ...] = (0,)) -> Collected:
    """Two methods that answer the same prompts; the second one's rewards lie `gap` above the first one's, and both hang
    on how hard a prompt is far more than on the method."""
    draws = np.random.default_rng(3)
    hard, rows, ranked = draws.normal(0, 5, PROMPTS), [], []
    for seed in seeds:
        for method, more in (("a", 0.0), ("b", gap)):
            frame = pd.DataFrame({"prompt_index": range(PROMPTS), "method": method, "seed": seed})
            for name in NAMES:
                frame[f"reward_{name}"] = hard + more + draws.normal(0, 0.3, PROMPTS)
            rows.append(
                frame.assign(policy="one", step=5, lambda_helpful=0.5, lambda_concise=0.5, log_ratio=0.1)
            )
            pairs = pd.DataFrame(
                {"pair": range(PROMPTS), "accuracy_helpful": draws.integers(0, 2, PROMPTS) * 1.0}
            )
            pairs["accuracy_concise"] = np.where(np.arange(PROMPTS) % 2, np.nan, 1.0)
            own = {"method": method, "seed": seed, "policy": "one", "step": 5}
            ranked.append(pairs.assign(**own, lambda_helpful=0.5, lambda_concise=0.5))
    responses = pd.concat(rows, ignore_index=True)
    keys = ["method", "seed", "policy", "step", "lambda_helpful", "lambda_concise"]
    means = responses.groupby(keys)[[f"reward_{name}" for name in NAMES]].mean().reset_index()
    points = means.assign(kl=0.1, n=PROMPTS)
    pairs = pd.concat(ranked, ignore_index=True)
    accuracies = (
        pairs.groupby(keys)[[f"accuracy_{name}" for name in NAMES]].mean().reset_index().assign(n=PROMPTS)
    )
    empty = pd.DataFrame()
    return Collected(NAMES, points, accuracies, responses, empty, empty, None, [], {}, {}, ranked=pairs)


def difference(rows: Collected, tables: object, margin: float = 0.01) -> list[dict[str, object]]:
    values = rows.points.set_index(["method", "seed"])["reward_helpful"]
    gaps = {seed: values["b", seed] - values["a", seed] for seed in sorted(set(rows.points["seed"]))}
    return [judge("b is better", "here", "reward difference", gaps, ">", 0, margin=margin)]


def some_more(rows: Collected, tables: object, first: bool) -> list[dict[str, object]]:
    """With a claim more in front of the other where the first method is the better one, or where it is not."""
    (row,) = difference(rows, tables)
    more = judge("more", "here", "seen", {0: 9.0}, ">", 0)
    return [more, row] if (row["value"] < 0) == first else [row]


def artefact(draws: int) -> SimpleNamespace:
    config = SimpleNamespace(evaluation=SimpleNamespace(draws=draws))
    return SimpleNamespace(config=config, tables=lambda rows: None)


def test_a_mean_over_prompts_has_the_interval_of_its_paired_differences():
    rows = collected(gap=0.5)
    (found,) = over_prompts(artefact(300), rows, difference).to_dict("records")
    each = rows.responses.pivot_table(index="prompt_index", columns="method", values="reward_helpful")
    gaps = each["b"] - each["a"]
    half = 1.96 * gaps.std() / np.sqrt(PROMPTS)
    assert found["value"] == pytest.approx(gaps.mean())
    assert found["ci_low"] == pytest.approx(gaps.mean() - half, abs=0.2 * half)
    assert found["ci_high"] == pytest.approx(gaps.mean() + half, abs=0.2 * half)
    assert found["verdict"] == "holds"
    assert found["draws"] == 300


def test_responses_to_one_prompt_are_drawn_together():
    """The same response four times over makes no interval narrower."""
    rows = collected(gap=0.5)
    again = replace(rows, responses=pd.concat([rows.responses] * 4, ignore_index=True))
    once, four = (over_prompts(artefact(40), each, difference) for each in (rows, again))
    pd.testing.assert_frame_equal(once, four)


@pytest.mark.parametrize("first", [True, False])
def test_a_claim_that_some_draws_lack_changes_no_other_s_interval(first):
    rows, made = collected(), artefact(60)
    (usual,) = over_prompts(made, rows, difference).to_dict("records")
    found = over_prompts(made, rows, partial(some_more, first=first)).set_index("claim")
    assert found.loc["b is better"].to_dict() == {key: usual[key] for key in usual if key != "claim"}
    (has,) = [
        each for each in (True, False) if "more" in {one["claim"] for one in some_more(rows, None, each)}
    ]
    assert ("more" in found.index) == (has == first)
    if has == first:
        assert 0 < found.loc["more", "draws"] < 60, "of the draws that have it"


def test_a_claim_that_no_draw_has_has_no_interval():
    rows = collected()

    def first_alone(drawn, tables):
        mine = difference(drawn, tables)
        return mine if drawn is not rows else [judge("more", "here", "seen", {0: 9.0}, ">", 0), *mine]

    assert over_prompts(artefact(9), rows, first_alone)["claim"].tolist() == ["b is better"]


def test_what_is_not_there_is_within_noise():
    (found,) = over_prompts(artefact(60), collected(), difference).to_dict("records")
    assert found["verdict"] == "within noise"


def test_what_is_less_than_the_margin_is_level():
    (found,) = over_prompts(artefact(60), collected(), partial(difference, margin=0.25)).to_dict("records")
    assert found["margin"] == 0.25
    assert -0.25 < found["ci_low"] < 0 < found["ci_high"] < 0.25
    assert found["verdict"] == "level"


def test_claims_of_several_studies_are_of_the_same_prompts_in_each():
    """Two methods' difference is the same in two studies of one method each as in one study of both."""
    both = collected(gap=0.5)
    apart = [
        replace(both, **{name: of(getattr(both, name), method) for name in ("points", "responses", "ranked")})
        for method in "ab"
    ]

    def gap(drawn: list[tuple[Collected, object]]) -> list[dict[str, object]]:
        first, second = (rows.points["reward_helpful"].iloc[0] for rows, _ in drawn)
        return [judge("b is better", "here", "reward difference", {0: second - first}, ">", 0, margin=0.01)]

    found = over_prompts_of_all([(artefact(40), rows) for rows in apart], gap)
    pd.testing.assert_frame_equal(found, over_prompts(artefact(40), both, difference))
    assert found["verdict"].tolist() == ["holds"]
    several = [(artefact(40), apart[0]), (artefact(40), collected(seeds=(0, 1, 2)))]
    assert over_prompts_of_all(several, gap) is None


def of(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    return frame[frame["method"] == method].reset_index(drop=True)


def test_two_seeds_are_drawn_alike():
    """Their mean's interval is that of the prompts' mean differences over both; Student's of two seeds says nothing."""
    rows = collected(gap=0.5, seeds=(0, 1))
    (found,) = over_prompts(artefact(300), rows, difference).to_dict("records")
    each = rows.responses.pivot_table(index="prompt_index", columns="method", values="reward_helpful")
    gaps = each["b"] - each["a"]
    half = 1.96 * gaps.std() / np.sqrt(PROMPTS)
    assert found["value"] == pytest.approx(gaps.mean())
    assert found["ci_high"] - found["ci_low"] == pytest.approx(2 * half, rel=0.2)
    assert found["verdict"] == "holds"


def test_several_seeds_speak_for_themselves():
    assert over_prompts(artefact(200), collected(seeds=(0, 1, 2)), difference) is None
    assert over_prompts(artefact(0), collected(), difference) is None


def test_a_draw_takes_the_same_prompts_for_all_and_pairs_with_a_label_alone():
    rows = collected(gap=0.5)
    drawn = [Redraws(rows).draw(np.random.default_rng(seed)) for seed in range(50)]
    assert all(list(each.points) == list(rows.points) for each in drawn)
    values = pd.concat([each.points for each in drawn])
    spread = values.groupby("method")["reward_helpful"].std()
    gaps = values.pivot_table(
        index=values.groupby("method").cumcount(), columns="method", values="reward_helpful"
    )
    assert (gaps["b"] - gaps["a"]).std() < spread.min() / 5
    means = rows.accuracies["accuracy_helpful"]
    for each in drawn:
        assert (each.accuracies["accuracy_concise"] == 1).all()
        assert ((each.accuracies["accuracy_helpful"] - means).abs() < 0.2).all()


def test_a_draws_responses_have_the_means_of_its_points():
    """A prompt that was drawn twice counts twice, and each method still answers a prompt once."""
    rows = collected(gap=0.5)
    drawn = Redraws(rows).draw(np.random.default_rng(1))
    assert list(drawn.responses) == list(rows.responses)
    assert not drawn.responses.duplicated(["method", "prompt_index"]).any()
    assert len(drawn.responses) == len(rows.responses)
    assert drawn.responses["reward_helpful"].nunique() < len(rows.responses)
    means = drawn.responses.groupby("method")["reward_helpful"].mean()
    assert means.to_dict() == pytest.approx(drawn.points.set_index("method")["reward_helpful"].to_dict())


def test_of_several_comparisons_the_same_one_is_drawn():
    """Though another one of a draw speaks against the claim; a row of one comparison has its own value."""
    row = {"statistic": "x - a > bound", "value": 1.0}
    drawn = {
        "statistic": "x - b > bound",
        "value": -1.0,
        "each": {"x - a > bound": 0.5, "x - b > bound": -1.0},
    }
    assert _again(row, drawn) == 0.5
    assert _again(row, {"statistic": "x - a > bound", "value": 2.0}) == 2.0
