"""HaM, Proposition 1 and section 3.6: does greedy optimisation of eq. 6 work, and how good are estimates of it?

    python experiments/ham/theory.py [scale=smoke|tiny] [key=value ...]

Nothing is trained. "Due to the monotonicity and submodularity, greedy algorithms, such as gradient ascent and Adam,
should work well": each seed is a tiny world whose every response is listed, a policy is a table, and HaM's
objectives (eqs. 3 and 4, r^likelihood.power, z = likelihood.z_factor times the reference's largest |L|) are exact.
The best policy of every preference is known (it is proportional to reference times sum_j w_j r_j^power), so the best
K of them are too, by dynamic programming over the front. Adam maximises the hypervolume of K tables from the
reference, as the paper has it (fronts = first) and as HaM here does (all); it is held against the best K, as is the
greedy choice of one policy after the other. Section 3.6 says that N random directions estimate the hypervolume at
rate sqrt(2^J / N): errors over J objectives.

Writes optimised.csv, estimates.csv, claims and the picture to results/ham/theory/.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa import pareto
from lightning_moa.config import SYNTHETIC
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.panels import PanelsConfig
from lightning_moa.methods.products import ham
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.results import Artefact, Judged, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import Study
from lightning_moa.world import Size, World
from lightning_moa.world.listing import Listing

OBJECTIVES = ("harmless", "helpful")
STEP = 0.005
"""Spacing of the preferences that the front is drawn through."""
FRONTS = ("first", "all")
WELL = 0.95
"""Share of the best gain in hypervolume that counts as working well."""
JITTER = 0.01
"""Standard deviation of the logits at the start: of equal policies one alone has a gradient."""
POINTS = 5


@dataclass
class TheoryConfig(PanelsConfig):
    """Worlds instead of trainings."""

    numbers: list[int] = option([2, 5, 8], "K: numbers of policies; the paper's is 5")
    updates: int = option(400, "of Adam", at_least=1)
    lr: float = option(0.03, "Adam's learning rate, for logits", above=0)
    dimensions: list[int] = option([2, 3, 4, 5, 6, 7, 8], "J: numbers of objectives of the estimates")
    directions: list[int] = option([64, 256, 1024], "N: random directions of an estimate")
    draws: int = option(100, "estimates of each kind", at_least=2)


def main(config: TheoryConfig, console: Console) -> None:
    if not isinstance(config.data, SyntheticConfig):
        raise UserError(f"data={config.data.name}: its best policies are not known; allowed is {SYNTHETIC}")
    if config.objectives:
        raise UserError(f"objectives={config.objectives}: here they are always {', '.join(OBJECTIVES)}")
    if len(config.dimensions) < 2 or 5 not in config.numbers:
        raise UserError("numbers, dimensions: the paper's K, 5, and two or more J are needed")
    artefact = Artefact.begin("ham", "theory", config)
    optimised = pd.concat([optimised_in(config, seed) for seed in config.seeds], ignore_index=True)
    estimates = pd.concat([estimated(config, seed) for seed in config.seeds], ignore_index=True)
    claims = Judged(claims_frame(judge_claims(optimised, estimates)))
    files = {"optimised.csv": optimised, "estimates.csv": estimates}
    artefact.write_computed(claims, files, "the tiny worlds' own")
    pictures = [artefact.folder / f"theory.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(optimised, estimates), *pictures)
    print_claims(console, claims, pictures)


@dataclass(frozen=True, eq=False)
class Objectives:
    """HaM's objectives of policies that are tables, in one tiny world."""

    logps: np.ndarray
    """(P, R) of the reference."""
    terms: np.ndarray
    """(P, R, J) its probability times r_j^power, so that L_j is a sum over them of log p."""
    z: float

    @staticmethod
    def of(world: World, power: float, z_factor: float) -> "Objectives":
        listing = Listing.of(world, OBJECTIVES)
        low, high = listing.rewards.min(axis=(0, 1)), listing.rewards.max(axis=(0, 1))
        weights = ((listing.rewards - low) / (high - low)) ** power
        terms = np.exp(listing.logps)[..., None] * weights / len(listing.prompts)
        z = z_factor * abs(np.einsum("prj,pr->j", terms, listing.logps)).max()
        return Objectives(listing.logps, terms, float(z))

    def values(self, logps: np.ndarray) -> np.ndarray:
        """(J,) Lbar of a policy (P, R) of log-probabilities (eqs. 3 and 4)."""
        # A response without weight has no term, whatever its probability.
        seen = np.maximum(logps, np.finfo(np.float64).min)
        return np.maximum((np.einsum("prj,pr->j", self.terms, seen) + self.z) / self.z, 0)

    def front(self) -> np.ndarray:
        """(n, J) of the best policy of each preference of a fine grid."""
        found = []
        for preference in pareto.preference_grid(self.terms.shape[-1], STEP):
            best = self.terms @ preference
            with np.errstate(divide="ignore"):
                found.append(self.values(np.log(best / best.sum(axis=1, keepdims=True))))
        return np.array(found)


def optimised_in(config: TheoryConfig, seed: int) -> pd.DataFrame:
    """How near Adam and the greedy choice come to the best policies.

    Returns:
        `seed`, `k`, `how` (first, all, greedy), `share` of the best gain in hypervolume over the reference's, and
        `alive`, the share of policies in which the hypervolume has a gradient at the end (empty for greedy).
    """
    world = World.build(config.data.world_seed + seed, config.data.risky_share, Size.tiny())
    objectives = Objectives.of(world, config.likelihood.power, config.likelihood.z_factor)
    front = objectives.front()
    start = float(objectives.values(objectives.logps).prod())
    rows = []
    for k in config.numbers:
        gain = best_volume(front, k) - start
        head = {"seed": seed, "k": k}
        rows.append(
            head | {"how": "greedy", "share": (greedy_volume(front, k) - start) / gain, "alive": np.nan}
        )
        for fronts in FRONTS:
            values = ascended(objectives, k, fronts, config.updates, config.lr, seed)
            _, slope = pareto.hypervolume_gradient(values, np.zeros(values.shape[1]))
            volume = pareto.hypervolume(values, np.zeros(values.shape[1]))
            alive = float((slope != 0).any(axis=1).mean())
            rows.append(head | {"how": fronts, "share": (volume - start) / gain, "alive": alive})
    return pd.DataFrame(rows)


def best_volume(front: np.ndarray, k: int) -> float:
    """The largest hypervolume of k of the points (n, 2) of a front: each next one along the front adds a strip."""
    points = front[np.argsort(front[:, 0])]
    best = points.prod(axis=1)
    for _ in range(k - 1):
        strips = (points[:, None, 0] - points[None, :, 0]) * points[:, None, 1]
        later = np.where(np.tri(len(points), k=-1, dtype=bool), best[None, :] + strips, -np.inf).max(axis=1)
        best = np.maximum(best, later)
    return float(best.max())


def greedy_volume(front: np.ndarray, k: int) -> float:
    """Hypervolume of k points, each chosen to add the most to those before."""
    chosen: list[int] = []
    origin = np.zeros(front.shape[1])
    for _ in range(k):
        volumes = [pareto.hypervolume(front[[*chosen, i]], origin) for i in range(len(front))]
        chosen.append(int(np.argmax(volumes)))
    return pareto.hypervolume(front[chosen], origin)


def ascended(objectives: Objectives, k: int, fronts: str, updates: int, lr: float, seed: int) -> np.ndarray:
    """(k, J) of k tables after Adam has maximised their hypervolume, from the reference."""
    import torch

    from lightning_moa.aggregation import Hypervolume

    generator = torch.Generator().manual_seed(seed)
    base, terms = torch.from_numpy(objectives.logps), torch.from_numpy(objectives.terms)
    noise = torch.randn(k, *base.shape, dtype=torch.float64, generator=generator)
    logits = (JITTER * noise).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=lr)
    aggregate, none = Hypervolume(fronts=fronts), torch.empty(0)

    def values() -> torch.Tensor:
        likelihoods = torch.einsum("prj,kpr->kj", terms, (base + logits).log_softmax(-1))
        return ((likelihoods + objectives.z) / objectives.z).clamp_min(0)

    for _ in range(updates):
        optimiser.zero_grad()
        aggregate(-values(), none).backward()
        optimiser.step()
    return np.asarray(values().detach().numpy())


def estimated(config: TheoryConfig, seed: int) -> pd.DataFrame:
    """Errors of the random scalarisation of eq. 10, for five points drawn from the unit cube.

    Returns:
        `seed`, `objectives`, `directions`, and the root mean squared `error`, also `relative` to the volume.
    """
    import torch

    from lightning_moa.aggregation import hypervolume, random_scalarisation, sample_directions

    rows = []
    for j in config.dimensions:
        generator = torch.Generator().manual_seed(1000 * seed + j)
        points = torch.rand(POINTS, j, dtype=torch.float64, generator=generator)
        volume = float(hypervolume(points))
        for n in config.directions:
            drawn = [
                float(random_scalarisation(points, sample_directions(j, n, generator))) - volume
                for _ in range(config.draws)
            ]
            error = float(np.sqrt(np.mean(np.square(drawn))))
            rows.append(
                {"seed": seed, "objectives": j, "directions": n, "error": error, "relative": error / volume}
            )
    return pd.DataFrame(rows)


def judge_claims(optimised: pd.DataFrame, estimates: pd.DataFrame) -> list[Row]:
    """The paper's sentence, and what stands beside it. The volume falls with J, and the error with it, so that only the
    relative error can say something. That errors fall as 1 / sqrt(N) is the law of large numbers, and no verdict is
    given."""
    five = optimised[optimised["k"] == 5]
    share = {how: per_seed(rows, "share") for how, rows in five.groupby("how")}
    alive = {how: per_seed(rows, "alive") for how, rows in five.groupby("how") if how != "greedy"}
    what = "gain in hypervolume over the reference's / the best gain of five policies"
    better = paired(share["all"], share["first"])
    rows = [
        judge(
            "Adam on the hypervolume works well", "Prop. 1", what, share["first"], ">=", WELL, margin=SHARE
        ),
        judge(
            "the greedy choice of policies works well",
            "Prop. 1",
            what,
            share["greedy"],
            ">=",
            WELL,
            margin=SHARE,
            whose=OURS,
        ),
    ]
    claim, apart = "Adam works better on all fronts", f"{what}: all - first"
    rows.append(judge(claim, "Prop. 1", apart, better, ">", 0, margin=SHARE, whose=OURS))
    for how, values in alive.items():
        claim = f"fronts = {how}: most policies are alive at the end"
        rows.append(
            judge(claim, "Prop. 1", "share of alive policies", values, ">", 0.5, margin=SHARE, whose=OURS)
        )
    for column, words in (("error", "error"), ("relative", "relative error")):
        grown = {int(str(seed)): growth(each, column) for seed, each in estimates.groupby("seed")}
        claim = f"the {words} grows with J at most as sqrt(2^J)"
        what = f"slope of log2 {words} over J, at equal N"
        rows.append(judge(claim, "3.6", what, grown, "<=", 0.5, whose=OURS))
    return rows


def per_seed(rows: pd.DataFrame, column: str) -> PerSeed:
    return {int(seed): float(value) for seed, value in zip(rows["seed"], rows[column], strict=True)}


def growth(estimates: pd.DataFrame, column: str) -> float:
    """Slope of log2 error over J, the mean over N."""
    slopes = [
        np.polyfit(rows["objectives"], np.log2(rows[column]), 1)[0]
        for _, rows in estimates.groupby("directions")
    ]
    return float(np.mean(slopes))


def draw(optimised: pd.DataFrame, estimates: pd.DataFrame) -> Figure:
    """Shares of the best gain over K; relative errors over J."""
    with canvas(10.0, 4.2, "HaM: Proposition 1 and section 3.6, nothing trained") as figure:
        left, right = figure.subplots(1, 2)
        labels = {
            "greedy": "one policy after the other",
            "first": "Adam, first front",
            "all": "Adam, all fronts",
        }
        for how, rows in optimised.groupby("how"):
            mean = rows.groupby("k")["share"].mean()
            left.plot(mean.index, mean, marker="o", label=labels[str(how)])
            left.plot(rows["k"], rows["share"], ".", color="#777777", markersize=3)
        left.axhline(1, color="black", linewidth=0.8)
        left.set_xlabel("number of policies K")
        left.set_title("Share of the best gain in hypervolume")
        left.legend(fontsize=8.5)
        for n, rows in estimates.groupby("directions"):
            mean = rows.groupby("objectives")["relative"].mean()
            right.plot(mean.index, mean, marker="o", label=f"N = {n}")
        right.set_yscale("log", base=2)
        right.set_xlabel("number of objectives J")
        right.set_title("Relative error of eq. 10's estimate")
        right.legend(fontsize=8.5)
    return figure


STUDY = Study(__file__, "assistant", {}, schema_of({"ham": ham()}, TheoryConfig))

if __name__ == "__main__":
    script(STUDY, main)
