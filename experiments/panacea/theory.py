"""Panacea, section 4.2 and Appendices B, C: what both aggregations find where every policy is allowed.

    python experiments/panacea/theory.py [scale=smoke|tiny] [key=value ...]

Nothing is trained. Each seed is a tiny world of its own, whose every response is listed, so that any policy is a table
(Assumption 4.1) and every optimum is exact:

* RLHF, J_i = E[r_i] - beta KL with beta = ppo.kl_coeff: the optima of linear scalarisation (eq. 6), of Tchebycheff
  (eq. 7) and of what Appendix B trains by PPO (eq. 13, whose maximum over objectives stands inside the expectation);
* DPO, J_i = -L_i, on pairs that each have a prompt of their own, so that a policy may give each pair any margin: with
  the labels' probabilities, of which training's labels are draws;
* Lemma 4.2's proof for DPO (Appendix C): mixtures of the best policies of two objectives.

Writes fronts.csv, distances.csv, mixtures.csv, claims and the picture to results/panacea/theory/.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from scipy.special import expit

from lightning_moa import pareto
from lightning_moa.config import SYNTHETIC, StudyConfig
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.pareto.scalarised import Best, tchebycheff_optimum
from lightning_moa.reporting.claims import OURS, PAPER, Row, claims_frame, judge
from lightning_moa.reporting.margins import LOG, SHARE
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.results import Artefact, Judged, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import Study
from lightning_moa.world import Size, World
from lightning_moa.world.listing import Listing

OBJECTIVES = ("helpful", "harmless", "humorous")
"""The first two are the paper's; eq. 8 is asked of all three too."""
STEP = 0.1
"""Spacing of the preferences that are put in place, the paper's."""
FINE = {2: 0.01, 3: 0.02}
"""Spacing of those that the front is drawn through."""
TIGHT = 0.01
"""Relative: weighted distances that differ by less are equal; a policy that is less below the front is on it."""
NATS = 0.01
"""Losses that differ by less are equal."""
LINEAR, TCHEBYCHEFF, INSIDE = "linear", "tchebycheff", "eq. 13"
THREE, ZERO = "RLHF, 3 objectives", "DPO, z = 0"
LOOKS = {LINEAR: ("#0072B2", "o"), TCHEBYCHEFF: ("#D55E00", "s"), INSIDE: ("#CC79A7", "^")}


@dataclass
class TheoryConfig(StudyConfig):
    """Worlds instead of trainings."""

    comparisons: int = option(4000, "pairs of responses that DPO's objectives are means over", at_least=2)


def main(config: TheoryConfig, console: Console) -> None:
    if not isinstance(config.data, SyntheticConfig):
        raise UserError(f"data={config.data.name}: its best policies are not known; allowed is {SYNTHETIC}")
    if config.objectives:
        raise UserError(f"objectives={config.objectives}: here they are always {', '.join(OBJECTIVES)}")
    artefact = Artefact.begin("panacea", "theory", config)
    tables = [tables_of(config, seed) for seed in config.seeds]
    fronts, distances, mixtures = (pd.concat(each, ignore_index=True) for each in zip(*tables, strict=True))
    claims = Judged(claims_frame(judge_claims(fronts, distances, mixtures)))
    files = {"fronts.csv": fronts, "distances.csv": distances, "mixtures.csv": mixtures}
    artefact.write_computed(claims, files, "the tiny worlds' own")
    pictures = [artefact.folder / f"theory.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(fronts, distances, mixtures), *pictures)
    print_claims(console, claims, pictures)


def tables_of(config: TheoryConfig, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fronts, weighted distances and mixtures of one world."""
    world = World.build(config.data.world_seed + seed, config.data.risky_share, Size.tiny())
    beta = config.ppo.kl_coeff
    listings = {m: Listing.of(world, OBJECTIVES[:m]) for m in (2, 3)}
    best = {m: linear(listing, beta) for m, listing in listings.items()}
    compared = Comparisons.drawn(listings[2], config.comparisons, seed)
    corners = {m: np.array([best[m](row) for row in np.eye(m)]) for m in best}
    found = {name: tchebycheff(solve, m, z) for name, solve, m, z in (
        ("RLHF, 2 objectives", best[2], 2, corners[2].max(axis=0)),
        (THREE, best[3], 3, corners[3].max(axis=0)),
        (ZERO, compared.best, 2, np.zeros(2)),
        ("DPO, z = the best", compared.best, 2, compared.ideal),
    )}  # fmt: skip
    distances = pd.concat([frame.assign(setting=name) for name, frame in found.items()], ignore_index=True)
    ideal_loss = -compared.ideal.min()
    fronts = fronts_of(listings[2], best[2], found["RLHF, 2 objectives"], beta)
    mixtures = compared.mixtures(listings[2], beta)
    return (
        fronts.assign(seed=seed),
        distances.assign(seed=seed),
        mixtures.assign(seed=seed, best_loss=ideal_loss),
    )


def linear(listing: Listing, beta: float) -> Best:
    """Weights to J of the best policy for their sum: linear scalarisation in RLHF (eqs. 6 and 12)."""
    return lambda weights: objectives_of(listing, listing.tilted(listing.rewards @ weights, beta), beta)


def objectives_of(listing: Listing, policy: np.ndarray, beta: float) -> np.ndarray:
    """(m,) J_i = E[r_i] - beta KL of a policy."""
    rewards, kl = listing.expected(policy)
    return rewards - beta * kl


def inner_grid(m: int) -> np.ndarray:
    """(g, m) the grid's preferences that weigh every objective."""
    grid = pareto.preference_grid(m, STEP)
    return grid[(grid > 1e-9).all(axis=1)]


def tchebycheff(best: Best, m: int, ideal: np.ndarray) -> pd.DataFrame:
    """Tchebycheff's optimum at each inner preference: `lambda_*`, `J_*` and `spread`, the weighted distances'
    largest less their least, over the largest: 0 where eq. 8 holds."""
    rows = []
    for preference in inner_grid(m):
        values = tchebycheff_optimum(best, preference, ideal)
        distances = preference * (ideal - values)
        spread = float(np.ptp(distances) / distances.max())
        rows.append(named(preference, values) | {"spread": spread})
    return pd.DataFrame(rows)


def named(preference: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """`lambda_1` .. `lambda_m`, `J_1` .. `J_m`."""
    pairs = (("lambda", preference), ("J", values))
    return {f"{name}_{i}": float(each) for name, row in pairs for i, each in enumerate(row, 1)}


def fronts_of(listing: Listing, best: Best, optima: pd.DataFrame, beta: float) -> pd.DataFrame:
    """What each aggregation finds at the grid's preferences, and the front, in RLHF.

    Returns:
        `kind` (front, or one of LOOKS), `lambda_*`, `J_*`, `depth`: by how much the best policy's weighted sum is
        higher, at the weights where that is least, over the front's mean range; 0 on the front.
    """
    fine, grid = pareto.preference_grid(2, FINE[2]), pareto.preference_grid(2, STEP)
    front = np.array([best(weights) for weights in fine])
    ideal = listing.rewards.max(axis=(0, 1))
    found = {"front": (fine, front), LINEAR: (grid, np.array([best(weights) for weights in grid]))}
    corners = front[[0, -1]]
    inner = optima[["lambda_1", "lambda_2"]].to_numpy(), optima[["J_1", "J_2"]].to_numpy()
    found[TCHEBYCHEFF] = np.concatenate([inner[0], fine[[0, -1]]]), np.concatenate([inner[1], corners])
    scores = [-(weights * (ideal - listing.rewards)).max(axis=-1) for weights in grid]
    inside = [objectives_of(listing, listing.tilted(score, beta), beta) for score in scores]
    found[INSIDE] = grid, np.array(inside)
    most = (fine * front).sum(axis=1)
    unit = float(np.ptp(front, axis=0).mean())
    rows = []
    for kind, (preferences, values) in found.items():
        for preference, value in zip(preferences, values, strict=True):
            depth = float((most - fine @ value).min()) / unit
            rows.append({"kind": kind} | named(preference, value) | {"depth": depth})
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Pairs of responses, and how probable it is that the first is better."""

    places: np.ndarray
    """(n, 3) the prompt, the first response and the second."""
    better: np.ndarray
    """(n, m) by each objective (Bradley-Terry)."""

    @staticmethod
    def drawn(listing: Listing, n: int, seed: int) -> "Comparisons":
        """Prompts alike, responses from the reference."""
        rng = np.random.default_rng(seed)
        prompts = rng.integers(len(listing.prompts), size=n)
        cumulative = np.exp(listing.logps).cumsum(axis=1)
        drawn = rng.random((n, 2)) * cumulative[prompts, -1:]
        places = [np.searchsorted(cumulative[p], row) for p, row in zip(prompts, drawn, strict=True)]
        first, second = np.array(places).T
        gap = listing.rewards[prompts, first] - listing.rewards[prompts, second]
        return Comparisons(np.column_stack([prompts, first, second]), expit(gap))

    def best(self, weights: np.ndarray) -> np.ndarray:
        """(m,) J of the policy that maximises their weighted sum: its margins have the labels' weighted mean."""
        share = (self.better @ weights)[:, None]
        return (self.better * np.log(share) + (1 - self.better) * np.log1p(-share)).mean(axis=0)

    @property
    def ideal(self) -> np.ndarray:
        """(m,) the best J of each objective."""
        return np.array([self.best(row)[i] for i, row in enumerate(np.eye(self.better.shape[1]))])

    def objectives(self, listing: Listing, policy: np.ndarray, beta: float) -> np.ndarray:
        """(m,) J of a policy (P, R) of log-probabilities."""
        prompts, first, second = self.places.T
        gained = policy - listing.logps
        margins = beta * (gained[prompts, first] - gained[prompts, second])[:, None]
        losses = self.better * np.logaddexp(0, -margins) + (1 - self.better) * np.logaddexp(0, margins)
        return np.asarray(-losses.mean(axis=0))

    def mixtures(self, listing: Listing, beta: float) -> pd.DataFrame:
        """Mixtures of the best policies a, b of either objective against the chord alpha J(a) + (1 - alpha) J(b).

        Returns:
            `alpha`, `mismatch`: how far the mixture that comes nearest is from the chord's point in its worst objective
            (Lemma 4.2 says 0), and `excess`: by how much one lies above it in its worst objective.
        """
        a, b = (listing.tilted(listing.rewards[..., i], beta) for i in range(2))
        ends = [self.objectives(listing, policy, beta) for policy in (a, b)]
        shares = expit(np.linspace(-10, 10, 401))  # close together at both ends, where losses change fast
        logs = [np.logaddexp(np.log(share) + a, np.log1p(-share) + b) for share in shares]
        mixed = np.array([ends[1], *(self.objectives(listing, policy, beta) for policy in logs), ends[0]])
        rows = []
        for alpha in np.linspace(0.1, 0.9, 9):
            gap = mixed - (alpha * ends[0] + (1 - alpha) * ends[1])
            nearest, highest = np.abs(gap).max(axis=1).min(), gap.min(axis=1).max()
            rows.append({"alpha": alpha, "mismatch": float(nearest), "excess": float(highest)})
        return pd.DataFrame(rows)


def judge_claims(fronts: pd.DataFrame, distances: pd.DataFrame, mixtures: pd.DataFrame) -> list[Row]:
    """The paper's sentences, and what of them is needed."""
    gaps = {kind: per_seed(fronts, lambda rows, kind=kind: gap(rows, kind)) for kind in (LINEAR, TCHEBYCHEFF)}
    what = "largest gap in the front that eleven preferences leave / its range"
    rows = [
        judge(f"{words} leaves gaps of less than a tenth", place, what, gaps[kind], "<=", STEP, whose=OURS)
        for kind, words, place in (
            (LINEAR, "linear scalarisation", "Prop. 4.4"),
            (TCHEBYCHEFF, "Tchebycheff", "Prop. 4.5"),
        )
    ]
    closer = paired(gaps[TCHEBYCHEFF], gaps[LINEAR])
    claim = "Tchebycheff's eleven leave smaller gaps than linear scalarisation's"
    what = "difference of the largest gap / range"
    rows.append(judge(claim, "eq. 8", what, closer, "<", 0, margin=SHARE, whose=OURS))
    # Of two objectives and the best ideal point they are equal wherever the front is whole, which tests hold.
    for setting, whose in ((THREE, PAPER), (ZERO, OURS)):
        each = distances[distances["setting"] == setting]
        spread = per_seed(each, lambda rows: float(rows["spread"].max()))
        what = "largest spread of weighted distances / the largest of them, over preferences"
        claim = f"{setting}: at Tchebycheff's optimum weighted distances are equal"
        rows.append(judge(claim, "eq. 8", what, spread, "<=", TIGHT, whose=whose))
    inside = fronts[fronts["kind"] == INSIDE]
    depth = per_seed(inside, lambda rows: float(rows["depth"].max()))
    what = "largest depth below the front / its range, over preferences"
    rows.append(judge("RLHF with Tchebycheff (eq. 13) has Pareto optima", "4.2", what, depth, "<=", TIGHT))
    apart = per_seed(mixtures, lambda rows: float(rows["mismatch"].max()))
    what = "distance of the nearest mixture from the mean of two policies' DPO losses, nats"
    claim = "some mixture of two policies has the mean of their losses, for all objectives"
    rows.append(judge(claim, "App. C", what, apart, "<=", NATS))
    above = per_seed(mixtures, lambda rows: float(rows["excess"].min()))
    what = "least excess over that mean, in the worse objective, nats"
    claim = "some mixture is as good as that mean or better, for all objectives, which would do for Prop. 4.4"
    return [*rows, judge(claim, "Lemma 4.2", what, above, ">=", 0, margin=LOG, whose=OURS)]


def gap(fronts: pd.DataFrame, kind: str) -> float:
    """How far the points of a kind must be raised, in all objectives at once, until they cover the front.

    In units of the front's range.
    """
    front, points = (
        fronts.loc[fronts["kind"] == name, ["J_1", "J_2"]].to_numpy() for name in ("front", kind)
    )
    unit = np.ptp(front, axis=0)
    return pareto.additive_epsilon(points / unit, front / unit)


def per_seed(frame: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> PerSeed:
    """Seed -> a number of its rows."""
    return {int(str(seed)): statistic(rows) for seed, rows in frame.groupby("seed")}


def draw(fronts: pd.DataFrame, distances: pd.DataFrame, mixtures: pd.DataFrame) -> Figure:
    """The first world's front; weighted distances and mixtures of all worlds."""
    with canvas(13.2, 4.4, "Panacea, section 4.2: every policy allowed, nothing trained") as figure:
        left, middle, right = figure.subplots(1, 3)
        draw_front(left, fronts[fronts["seed"] == fronts["seed"].min()])
        two = distances[distances["setting"] != THREE]
        for setting, rows in two.groupby("setting", sort=False):
            mean = rows.groupby("lambda_1")["spread"].mean()
            middle.plot(mean.index, mean, marker="o", markersize=4, label=str(setting))
        middle.set_xlabel(f"weight of {OBJECTIVES[0]}")
        middle.set_title("Eq. 8: spread of weighted distances (0: equal)")
        middle.legend(fontsize=8.5)
        names = {"mismatch": "distance of the nearest mixture", "excess": "excess of the best mixture"}
        for column, label in names.items():
            mean = mixtures.groupby("alpha")[column].mean()
            right.plot(mean.index, mean, marker="o", markersize=4, label=label)
        right.axhline(0, color="black", linewidth=0.8)
        right.set_xlabel(r"$\alpha$")
        right.set_title("DPO: mixtures against the chord, nats")
        right.legend(fontsize=8.5)
    return figure


def draw_front(ax: Axes, fronts: pd.DataFrame) -> None:
    line = fronts[fronts["kind"] == "front"]
    ax.plot(line["J_1"], line["J_2"], color="black", linewidth=1.3, label="front", zorder=1)
    for kind, (colour, marker) in LOOKS.items():
        rows = fronts[fronts["kind"] == kind]
        ax.plot(rows["J_1"], rows["J_2"], marker, color=colour, markersize=5, label=kind, alpha=0.8)
    ax.set_xlabel(f"J of {OBJECTIVES[0]}  (higher is better →)")
    ax.set_ylabel(f"J of {OBJECTIVES[1]}  (higher is better →)")
    ax.set_title("RLHF: optima of eleven preferences")
    ax.legend(fontsize=8.5)


STUDY = Study(__file__, "rlhf", {}, schema_of({"panacea": PANACEA_PPO}, TheoryConfig))

if __name__ == "__main__":
    script(STUDY, main)
