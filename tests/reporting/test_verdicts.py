"""Intervals against a textbook table, verdicts against their definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_moa.errors import UserError
from lightning_moa.reporting.verdicts import (
    RELATIONS,
    Estimate,
    adjusted_verdicts,
    estimate,
    holm,
    level_p,
    p_value,
    rules_out,
    verdict,
)


def test_student_interval_of_three_seeds() -> None:
    # t(0.975, 2 degrees of freedom) = 4.3027 in every table.
    result = estimate({0: 1.0, 1: 2.0, 2: 3.0})
    assert result.value == 2
    assert result.ci_high - 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert result.ci_low + result.ci_high == pytest.approx(4)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        result = estimate(dict(enumerate(generator.normal(size=3))))
        hits += result.ci_low <= 0 <= result.ci_high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_one_seed_tells_nothing() -> None:
    result = estimate({4: 3.0})
    assert result.value == 3
    assert math.isnan(result.ci_low)
    assert math.isnan(result.ci_high)
    assert all(verdict(result, relation, 0) == "one seed" for relation in RELATIONS)
    assert all(math.isnan(p_value(result, relation, 0)) for relation in RELATIONS)


def test_the_order_of_the_seeds_does_not_matter() -> None:
    values = {0: 0.1, 1: 1e9, 2: -1e9 + 0.3, 3: 0.7}
    assert estimate(values) == estimate(dict(reversed(values.items())))


@pytest.mark.parametrize("values", [{}, {0: math.nan, 1: 1.0}, {0: math.inf}])
def test_no_number_no_estimate(values: dict[int, float]) -> None:
    with pytest.raises(UserError, match="hypervolume"):
        estimate(values, "hypervolume")


@given(st.integers(-3, 3), st.integers(1, 3), st.sampled_from(RELATIONS), st.integers(0, 3))
def test_the_verdict_is_what_all_values_of_the_interval_say(
    low: int, width: int, relation: str, bound: int
) -> None:
    # Quarters: fine enough to see open and closed ends of intervals between whole numbers.
    inside = np.linspace(low, low + width, 4 * width + 1)
    true = {
        ">": inside > bound,
        ">=": inside >= bound,
        "<": inside < bound,
        "<=": inside <= bound,
        "within": abs(inside) <= bound,
    }[relation]
    expected = "holds" if true.all() else "within noise" if true.any() else "fails"
    assert verdict(Estimate(low + width / 2, low, low + width, 3), relation, bound) == expected


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=8), st.sampled_from(RELATIONS), st.floats(0, 2))
def test_p_says_what_the_interval_says(values: list[float], relation: str, bound: float) -> None:
    result = estimate(dict(enumerate(values)))
    p = p_value(result, relation, bound)
    assert 0 <= p <= 1
    if result.ci_low < result.ci_high and abs(p - 0.05) > 1e-6:
        assert (p < 0.05) == (verdict(result, relation, bound) != "within noise")


def test_p_is_that_of_a_t_test() -> None:
    from scipy.stats import ttest_1samp

    values = [0.3, 1.2, 0.9, 0.4]
    result = estimate(dict(enumerate(values)))
    for relation in (">", "<"):
        assert p_value(result, relation, 0.1) == pytest.approx(ttest_1samp(values, 0.1).pvalue)
    # The nearer end of [-1, 1] from inside, and from outside.
    assert p_value(result, "within", 1.0) == pytest.approx(ttest_1samp(values, 1.0).pvalue)
    assert p_value(result, "within", 0.2) == pytest.approx(ttest_1samp(values, 0.2).pvalue)
    below = estimate({seed: -value for seed, value in enumerate(values)})
    assert p_value(below, "within", 0.2) == p_value(result, "within", 0.2)


def test_seeds_that_agree_exactly_decide_nothing_before_there_are_six() -> None:
    # 3 of 3 coins have shown heads: p = 1/4.
    three, six = (estimate(dict.fromkeys(range(n), 1.0)) for n in (3, 6))
    assert p_value(three, ">", 0.9) == 0.25
    assert verdict(three, ">", 0.9) == verdict(three, "<", 0.9) == "within noise"
    assert verdict(six, ">", 0.9) == verdict(six, "within", 2) == "holds"
    assert verdict(six, "<", 0.9) == "fails"
    # On the bound no number of seeds says more than that they agree.
    assert verdict(six, ">=", 1) == "within noise"


def test_a_number_that_no_seed_changes_is_compared_as_it_is() -> None:
    number = Estimate(2.0, math.nan, math.nan, 0)
    assert [verdict(number, relation, 2) for relation in RELATIONS] == [
        "fails",
        "holds",
        "fails",
        "holds",
        "holds",
    ]
    assert math.isnan(p_value(number, ">", 0))


def test_level_is_two_one_sided_t_tests() -> None:
    from scipy.stats import ttest_1samp

    values = [0.02, -0.01, 0.03, 0.01]
    result = estimate(dict(enumerate(values)))
    for bound, margin in ((0.0, 0.05), (0.0, 0.03), (0.01, 0.2), (0.0, 0.005)):
        above = ttest_1samp(values, bound - margin, alternative="greater").pvalue
        below = ttest_1samp(values, bound + margin, alternative="less").pvalue
        assert level_p(result, bound, margin) == pytest.approx(min(1.0, 2 * max(above, below)))
        for relation in (">", "<", ">=", "<="):
            expected = "level" if max(above, below) < 0.025 else "within noise"
            assert verdict(result, relation, bound, margin) == expected
    assert math.isnan(level_p(result, 0, math.nan))
    assert math.isnan(level_p(estimate({0: 1.0}), 0, 1))


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=8),
    st.sampled_from(RELATIONS[:-1]),
    st.floats(-2, 2),
    st.floats(0, 4),
)
def test_level_is_said_of_noise_alone_and_never_without_a_margin(
    values: list[float], relation: str, bound: float, margin: float
) -> None:
    result = estimate(dict(enumerate(values)))
    without, found = verdict(result, relation, bound), verdict(result, relation, bound, margin)
    assert found == without or (without, found) == ("within noise", "level")
    assert verdict(result, relation, bound, 0.0) == without
    p = level_p(result, bound, margin)
    if found == "level":
        assert p <= 0.05 + 1e-9
    elif without == "within noise":
        assert p >= 0.05 - 1e-9


@given(
    st.floats(-1, 1),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.floats(1, 5),
    st.floats(0, 2),
    st.sampled_from(RELATIONS[:-1]),
)
def test_a_wider_interval_makes_nothing_level(
    value: float, below: float, above: float, factor: float, margin: float, relation: str
) -> None:
    narrow = Estimate(value, value - below, value + above, 3)
    wide = Estimate(value, value - factor * below, value + factor * above, 3)
    if verdict(narrow, relation, 0, margin) == "within noise":
        assert verdict(wide, relation, 0, margin) == "within noise"


def test_six_seeds_that_agree_on_the_bound_are_level_with_it() -> None:
    five, six = (estimate(dict.fromkeys(range(n), 1.0)) for n in (5, 6))
    assert verdict(five, ">", 1, 0.1) == "within noise"
    assert verdict(six, ">", 1, 0.1) == "level"
    assert verdict(six, ">", 1, 0.0) == "within noise"
    assert verdict(six, ">", 0.95, 0.1) == "holds"


def test_a_number_that_no_seed_changes_is_never_level() -> None:
    assert verdict(Estimate(2.0, math.nan, math.nan, 0), "<", 2, 1.0) == "fails"


def test_noise_says_what_it_rules_out_and_never_too_much() -> None:
    assert rules_out(Estimate(0.01, -0.0201, 0.03, 3), ">", 0) == (
        "rules out more than 0.03 above and 0.021 below the bound"
    )
    assert rules_out(Estimate(100.0, 60.0, 223.0, 3), "<", 100) == (
        "rules out more than 130 above and 40 below the bound"
    )
    assert (
        rules_out(Estimate(0.1, 0.0199, 0.1801, 3), "within", 0.1)
        == "rules out more than 0.19 and less than 0.019"
    )
    assert rules_out(Estimate(-0.1, -0.1801, -0.0199, 3), "within", 0.1) == (
        "rules out more than -0.019 and less than -0.19"
    )
    assert rules_out(Estimate(1.0, 1.0, 1.0, 3), ">", 1) == ""


def test_level_rows_have_a_family_of_their_own_and_change_nothing_else() -> None:
    nan = math.nan
    verdicts, ps = ["holds", "level", "level", "within noise"], [0.01, 0.6, 0.9, 0.2]
    found = adjusted_verdicts(verdicts, ps, [nan, 0.02, 0.04, 0.9])
    # Of the level ones 3 x .02 is too much, so that nothing after it is left.
    assert found == ["holds", "within noise", "within noise", "within noise"]
    assert adjusted_verdicts(verdicts, ps, [nan, 0.01, 0.02, 0.9]) == [
        "holds",
        "level",
        "level",
        "within noise",
    ]
    assert adjusted_verdicts(verdicts, ps, [1.0, 0.04, 0.9, 0.9])[0] == "holds"


def test_level_is_said_falsely_of_a_file_less_than_once_in_twenty() -> None:
    # Every true value lies just at its margin.
    generator, any_alone, any_left = np.random.default_rng(2), 0, 0
    for _ in range(400):
        rows = [estimate(dict(enumerate(1 + 0.1 * generator.normal(size=3)))) for _ in range(12)]
        said = [verdict(row, ">", 0, 1.0) for row in rows]
        ps = [p_value(row, ">", 0) for row in rows]
        any_alone += any(p < 0.05 for p in (level_p(row, 0, 1.0) for row in rows))
        any_left += "level" in adjusted_verdicts(said, ps, [level_p(row, 0, 1.0) for row in rows])
    assert any_alone / 400 > 0.15
    assert any_left / 400 < 0.08


def test_holm_by_hand_and_no_verdict_comes_of_it_that_was_not_there() -> None:
    # 4 x .01, 3 x .02 = .06, then 2 x .03 no less than that, then .2.
    ps = [0.03, 0.01, math.nan, 0.2, 0.02]
    np.testing.assert_allclose(holm(ps), [0.06, 0.04, math.nan, 0.2, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    found = adjusted_verdicts(["holds", "fails", "one seed", "within noise", "holds"], ps)
    assert found == ["within noise", "fails", "one seed", "within noise", "within noise"]


def test_holm_keeps_false_verdicts_of_an_artefact_below_one_in_twenty() -> None:
    generator, any_alone, any_left = np.random.default_rng(1), 0, 0
    for _ in range(400):
        ps = [p_value(estimate(dict(enumerate(generator.normal(size=3)))), ">", 0) for _ in range(12)]
        any_alone += min(ps) < 0.05
        any_left += min(holm(ps)) < 0.05
    assert any_alone / 400 > 0.35
    assert any_left / 400 < 0.08
