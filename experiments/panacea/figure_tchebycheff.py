"""Panacea, Appendix B: Tchebycheff against linear scalarisation, in RLHF (eq. 13) and in DPO (eq. 16).

    python experiments/panacea/figure_tchebycheff.py [scale=smoke|tiny] [key=value ...]

"Since the maximum reward can be hard to determine in practice, we find Tche less suitable for RLHF than for DPO."
PPO is trained here on the world's own reward, whose maximum is known, so that nothing but the aggregation differs:
linearly; by eq. 13 with z as it is, the largest reward that a response has; and with z too high by as much as the best
policies' mean rewards span (`too_high` times), as a guess may be. DPO, whose z is 0, is Figure 5's. Writes CSVs to the
folders rlhf and dpo of results/panacea/figure_tchebycheff/, claims and the picture above. theory.py asks the same where
nothing is trained.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa import pareto
from lightning_moa.answers import use
from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.fields import option
from lightning_moa.figures.modes import world_of
from lightning_moa.methods.products import PANACEA_LS_DPO, PANACEA_PPO, PANACEA_TCHE_DPO, Product
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric_difference, paired
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import objectives_of
from lightning_moa.study.results import Artefact, Tables, judged, print_claims, print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

EQ_13 = use("ppo", weigh="tchebycheff_reward")
METHODS = {
    "panacea_ls_rlhf": replace(PANACEA_PPO, objective=use("ppo", weigh="linear_reward")),
    "panacea_tche_rlhf": replace(PANACEA_PPO, objective=EQ_13),
    "panacea_tche_high_rlhf": replace(PANACEA_PPO, objective=EQ_13),
    "panacea_ls": PANACEA_LS_DPO,
    "panacea_tche": PANACEA_TCHE_DPO,
}
RLHF = ("panacea_ls_rlhf", "panacea_tche_rlhf", "panacea_tche_high_rlhf")
GREEDY = 0.02
"""A beta at which the best policy of one objective has all but its highest reward."""


@dataclass
class TchebycheffConfig(StudyConfig):
    """A study, and how far off a guess of the largest reward may be."""

    too_high: float = option(1.0, "by how many spans of a reward z is too high where it is guessed", above=0)


def studies(config: TchebycheffConfig) -> list[tuple[str, TchebycheffConfig, Mapping[str, Product]]]:
    """RLHF's, then DPO's: label, configuration, methods."""
    return [(name, *each) for name, each in (("rlhf", rlhf_study(config)), ("dpo", dpo_study(config)))]


def rlhf_study(config: TchebycheffConfig) -> tuple[TchebycheffConfig, Mapping[str, Product]]:
    """PPO on gold rewards, each method with Panacea's settings and a z of its own."""
    largest, span = rewards_of(config)
    ideals = dict(zip(RLHF, (None, largest, largest + config.too_high * span), strict=True))
    own = deepcopy(config)
    own.ppo.reward = "gold"
    alike = replace(config.methods.get("panacea", MethodConfig()), snapshots=[])
    own.methods = {}
    for name, ideal in ideals.items():
        mine = config.methods.get(name, alike)
        z = {} if ideal is None else {"ideal_point": ideal.round(6).tolist()}
        ppo = {**z, **mine.settings.get("ppo", {})}
        own.methods[name] = replace(mine, settings={**mine.settings, **({"ppo": ppo} if ppo else {})})
    return own, {name: METHODS[name] for name in RLHF}


def dpo_study(config: TchebycheffConfig) -> tuple[TchebycheffConfig, Mapping[str, Product]]:
    """As Figure 5 has it: DPO's settings and measurements are those of its own configuration, but for what was said."""
    usual, theirs = (
        replace(STUDY, family=each).read([f"scale={config.scale}"])[0] for each in ("rlhf", "dpo")
    )
    own = deepcopy(config)
    for section in ("dpo", "evaluation"):
        said, unsaid = getattr(config, section), getattr(usual, section)
        changed = {
            each.name: getattr(said, each.name)
            for each in fields(said)
            if getattr(said, each.name) != getattr(unsaid, each.name)
        }
        setattr(own, section, replace(getattr(theirs, section), **changed))
    methods = {name: product for name, product in METHODS.items() if name not in RLHF}
    own.methods = {name: each for name, each in config.methods.items() if name in methods}
    return own, methods


def rewards_of(config: TchebycheffConfig) -> tuple[np.ndarray, np.ndarray]:
    """(m,) the largest reward of a response, objective by objective; and by how much mean rewards of the best policies
    for one objective each differ.

    Raises:
        UserError: data without a known best policy.
    """
    world, names = world_of(config), objectives_of(config)
    corners = world.exact_front(np.eye(len(names)), GREEDY, names).rewards
    return world.largest_rewards(names), np.ptp(corners, axis=0)


def main(config: TchebycheffConfig, console: Console) -> None:
    found = {}
    for label, own, methods in studies(config):
        artefact = Artefact.begin("panacea", "figure_tchebycheff", own, part=label)
        collected = conduct(own, methods, console)
        tables = artefact.tables(collected)
        artefact.write(collected, tables, None)
        print_methods(console, artefact, collected, tables)
        found[label] = artefact, collected, tables
    both = {label: (collected, tables) for label, (_, collected, tables) in found.items()}
    claims = judged(
        lambda name: judge_claims({label: (mine, tables.at(name)) for label, (mine, tables) in both.items()})
    )
    folder = found["rlhf"][0].folder.parent
    claims.write(folder)
    pictures = [folder / f"figure_tchebycheff.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(both), *pictures)
    print_claims(console, claims, pictures)


def judge_claims(found: Mapping[str, tuple[Collected, Tables]]) -> list[Row]:
    """What Tchebycheff loses against linear scalarisation, in RLHF and in DPO."""
    lost = {
        "known": loss_of(*found["rlhf"], "panacea_tche_rlhf", "panacea_ls_rlhf"),
        "guessed": loss_of(*found["rlhf"], "panacea_tche_high_rlhf", "panacea_ls_rlhf"),
        "dpo": loss_of(*found["dpo"], "panacea_tche", "panacea_ls"),
    }
    lower = "hypervolume of Tchebycheff - linear, over the exact front's"
    what = f"{lower}: RLHF - DPO"
    known, guessed = (paired(lost[name], lost["dpo"]) for name in ("known", "guessed"))
    apart = paired(lost["guessed"], lost["known"])
    claim = "Tchebycheff is less suitable for RLHF than for DPO"
    ours = {
        f"{claim}, z known": (what, known),
        "RLHF: a z that is too high costs hypervolume": (f"{lower}: guessed - known", apart),
        "RLHF, z known: Tchebycheff spans less": (lower, lost["known"]),
        "DPO: Tchebycheff spans less": (lower, lost["dpo"]),
    }
    return [
        judge(f"{claim}, z guessed", "App. B", what, guessed, "<", 0, margin=SHARE),
        *(judge(words, "App. B", *each, "<", 0, margin=SHARE, whose=OURS) for words, each in ours.items()),
    ]


def loss_of(collected: Collected, tables: Tables, method: str, other: str) -> PerSeed:
    """Hypervolume of a method less that of the other, in gold rewards, as a share of the exact front's."""
    assert collected.exact is not None
    gold = [f"gold_{name}" for name in collected.objectives]
    corner = tables.metrics.loc[tables.metrics["space"] == "gold"].filter(like="reference_").iloc[0]
    whole = pareto.hypervolume(collected.exact.front[gold], corner)
    gap = metric_difference(tables.metrics, "hypervolume", method, other, "gold")
    return {seed: value / whole for seed, value in gap.items()}


def draw(found: Mapping[str, tuple[Collected, Tables]]) -> Figure:
    """Fronts in gold rewards, RLHF and DPO."""
    with canvas(10.5, 5.0, "Panacea, Appendix B: Tchebycheff and linear scalarisation") as figure:
        titles = {"rlhf": "RLHF (eqs. 12, 13)", "dpo": "DPO (eqs. 14, 16)"}
        for part, (label, (collected, tables)) in zip(divide(figure, 1, 2), found.items(), strict=True):
            assert collected.exact is not None
            gold = [f"gold_{name}" for name in collected.objectives]
            exact = collected.exact.front[gold].to_numpy()
            draw_fronts(part, tables.points, "gold", front=exact, title=titles[label])
    return figure


STUDY = Study(__file__, "rlhf", METHODS, TchebycheffConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
