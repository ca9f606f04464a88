"""What weighted likelihood is after, weighted per objective or scalarised first: its optima in a synthetic world.

Weighted per objective, sum_j lambda_j r_j^q log p, the optimum of a preference is a mixture of the single objectives'
optima. Scalarised first, (lambda . r)^q log p, it is not, and can prefer a third kind of answer.
"""

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto import hypervolume
from lightning_moa.reporting.styles import Style
from lightning_moa.world import ExactWorld
from lightning_moa.world.text import parse_prompts
from lightning_moa.world.weighted import per_objective_weights, scalarised_weights, weighted_optimum

WEIGHTINGS = {"per_objective": per_objective_weights, "scalarised": scalarised_weights}
LABELS = {
    "per_objective": "per objective, $r^{{{}}}$",
    "scalarised": "scalarised first, $(\\lambda \\cdot r)^{{{}}}$",
}
MARKERS = {"per_objective": "v", "scalarised": "D"}
COLOURS = {"per_objective": "Oranges", "scalarised": "Blues"}
SIZES = {"per_objective": 7.0, "scalarised": 4.5}
"""Of markers: at power 1 the two weightings are one, and both are to be seen."""
EXACT = "exact"
"""The weighting of rows that are KL-regularised optima; their power is empty."""
Unit = Callable[[np.ndarray], np.ndarray]
"""Scores (n, J) to rewards (n, J) in [0, 1]."""


def computed_fronts(
    world: ExactWorld,
    objectives: Sequence[str],
    preferences: ArrayLike,
    powers: Sequence[float],
    *,
    beta: float,
    unit: Unit,
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """The optima of weighted likelihood and the KL-regularised ones, a row for each preference.

    All that weighted likelihood is concerned with comes from the same responses of the world's reference policy. The
    best policies at `beta` are exact.

    Args:
        world: of the prompts, responses and gold rewards.
        objectives: J of the world's.
        preferences: (n, J), on the simplex.
        powers: the exponents q, above 0.
        beta: weight of the KL in the exact front, above 0, in units of reward per nat.
        unit: maps gold rewards to those that weigh.
        samples: responses to each distinct prompt.
        seed: of the responses.

    Returns:
        `weighting` (per_objective, scalarised or exact), `power`, `lambda_*`, `gold_*`, `kl` in nats, the shares
        `<kind>_<mode>` of each mode on the world's last kind of prompt, where objectives are at odds, and of what is
        estimated the standard errors `error_*` of the gold rewards and `effective`, the least effective number of
        responses to a prompt. Where that is a handful the estimates lean towards the reference.

    Raises:
        UserError: fewer than 2 samples, an unknown objective, preferences off the simplex, a power or beta that isn't
            above 0, or rewards outside [0, 1].
    """
    if samples < 2:
        raise UserError(f"samples is {samples}, allowed are 2 or more responses to each prompt")
    rng = np.random.default_rng(seed)
    distinct = sorted(set(world.sample_prompts(20_000, np.random.default_rng(0))))
    kinds, _ = parse_prompts(world.grammar, distinct)
    shares = dict(zip(distinct, (world.kind_shares / np.bincount(kinds))[kinds].tolist(), strict=True))
    prompts = [prompt for prompt in distinct for _ in range(samples)]
    responses = world.sample_responses(prompts, rng)
    gold = world.rewards(prompts, responses, objectives)
    modes = np.array(world.modes(responses))[:, None] == np.array(world.mode_names)
    at_odds = np.repeat(kinds == len(world.kinds) - 1, samples)
    odd_prompts = [prompt for prompt, odd in zip(prompts, at_odds, strict=True) if odd]
    rewards = unit(gold)

    rows = []
    for weighting, weigh in WEIGHTINGS.items():
        for power in powers:
            for preference in np.asarray(preferences, dtype=np.float64):
                weights = weigh(rewards, preference, power)
                found = weighted_optimum(prompts, weights, gold, shares)
                mix = weighted_optimum(odd_prompts, weights[at_odds], modes[at_odds], shares)
                key = _key(weighting, power, objectives, preference)
                errors = _named("error", objectives, found.errors)
                spent = {"kl": found.kl, "effective": found.effective}
                rows.append(key | _rest(world, objectives, found.values, mix.values) | errors | spent)
    front = world.exact_front(preferences, beta, objectives)
    for i, preference in enumerate(front.preferences):
        rest = _rest(world, objectives, front.rewards[i], front.modes[world.kinds[-1]][i])
        rows.append(_key(EXACT, np.nan, objectives, preference) | rest | {"kl": float(front.kl[i])})
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame, reference_point: ArrayLike, mode: str) -> pd.DataFrame:
    """How each curve of `computed_fronts` stands beside the exact front.

    Args:
        frame: of `computed_fronts`.
        reference_point: (J,), hypervolume's corner.
        mode: a column of shares, such as risky_safe.

    Returns:
        `weighting`, `power`, `hypervolume` relative to the exact front's on the same preferences, `kl`, its mean over
        the preferences, and the share of the mode at the preference nearest to equal weights.

    Raises:
        UserError: nothing of the exact front is above the reference point.
    """
    weights = frame.filter(regex="^lambda_")
    even = np.abs(weights - 1 / weights.shape[1]).sum(axis=1)
    rows = []
    for (weighting, power), curve in frame.groupby(["weighting", "power"], sort=False, dropna=False):
        volume = hypervolume(curve.filter(regex="^gold_"), reference_point)
        middle = curve.loc[even[curve.index].idxmin(), mode]
        spent = {"hypervolume": volume, "kl": curve["kl"].mean()}
        rows.append({"weighting": weighting, "power": power, **spent, mode: middle})
    found = pd.DataFrame(rows)
    best = found.loc[found["weighting"] == EXACT, "hypervolume"].item()
    if not best > 0:
        raise UserError(
            f"reference point {np.asarray(reference_point).tolist()}: nothing of the exact front is above it"
        )
    return found.assign(hypervolume=found["hypervolume"] / best)


def draw_computed(ax: Axes, frame: pd.DataFrame, x: str, y: str, *, title: str) -> None:
    """Two columns of `computed_fronts` against each other: a line for each weighting and power, the exact in black.

    For fronts two `gold_*` columns; for mode shares or KL a `lambda_*` column and theirs. Points are joined in the
    order of the first preference weight where there are two objectives, and left unjoined where there are more. Every
    curve has its label; the legend is the caller's.

    Args:
        ax: drawn into.
        frame: of `computed_fronts`.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        title: of the panel.
    """
    first, *others = frame.filter(regex="^lambda_").columns
    joined = len(others) == 1
    exact = frame[frame["weighting"] == EXACT].sort_values(first)
    ax.plot(
        exact[x],
        exact[y],
        color="black",
        marker="" if joined else ".",
        linewidth=2.2,
        zorder=2,
        label="exact optimum",
        linestyle="-" if joined else "",
    )
    for weighting, power, style in curve_styles(frame):
        mine = frame[(frame["weighting"] == weighting) & (frame["power"] == power)].sort_values(first)
        ax.plot(
            mine[x],
            mine[y],
            color=style.colour,
            marker=style.marker,
            markersize=SIZES[weighting],
            markeredgecolor="white",
            markeredgewidth=0.5,
            linewidth=1.5,
            zorder=3,
            label=style.label,
            linestyle="-" if joined else "",
        )
    ax.set_title(title)
    ax.set_xlabel(_axis_label(x))
    ax.set_ylabel(_axis_label(y))


def curve_styles(frame: pd.DataFrame) -> list[tuple[str, float, Style]]:
    """Weighting, power and look of each curve but the exact one: a hue for each weighting, darker for larger powers."""
    looks = []
    for weighting, label in LABELS.items():
        powers = sorted(frame.loc[frame["weighting"] == weighting, "power"].unique())
        ramp = matplotlib.colormaps[COLOURS[weighting]](np.linspace(0.4, 0.95, len(powers)))
        looks += [
            (weighting, power, Style(label.format(f"{power:g}"), to_hex(colour), MARKERS[weighting]))
            for power, colour in zip(powers, ramp, strict=True)
        ]
    return looks


def _axis_label(column: str) -> str:
    kind, _, rest = column.partition("_")
    words = {
        "gold": f"{rest}  (higher is better →)",
        "lambda": f"weight of {rest}",
        "kl": "KL, nats per response",
    }
    return words.get(kind, f"share of {column.replace('_', ': ', 1)}")


def _key(
    weighting: str, power: float, objectives: Sequence[str], preference: np.ndarray
) -> dict[str, object]:
    return {"weighting": weighting, "power": power} | _named("lambda", objectives, preference)


def _rest(
    world: ExactWorld, objectives: Sequence[str], rewards: np.ndarray, shares: np.ndarray
) -> dict[str, object]:
    return _named("gold", objectives, rewards) | _named(world.kinds[-1], world.mode_names, shares)


def _named(prefix: str, names: Sequence[str], values: np.ndarray) -> dict[str, object]:
    return {f"{prefix}_{name}": float(value) for name, value in zip(names, values, strict=True)}
