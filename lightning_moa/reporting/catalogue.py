"""Every artefact of the three papers and about all methods together, and how far this repository has come with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.reporting.claims import by_chance, claims_frame
from lightning_moa.reporting.schema import CLAIMS, OURS, PAPER
from lightning_moa.reporting.verdicts import FAILS, HOLDS, IS_LEVEL, NOISE, ONE_SEED


@dataclass(frozen=True)
class Artefact:
    """A table, figure or theorem; its script is experiments/<paper>/<script>.py."""

    paper: str
    name: str
    title: str

    @property
    def script(self) -> str:
        """That of its own name, unless another one's makes it too."""
        return _SCRIPTS.get((self.paper, self.name), self.name)


@dataclass(frozen=True)
class Claims:
    """How claims stand: verdict -> number of them, as each row says by itself and with Holm's adjustment."""

    alone: Counter[str]
    adjusted: Counter[str]

    @property
    def claims(self) -> int:
        return self.alone.total()


@dataclass(frozen=True)
class Standing:
    """What there is of an artefact. `scales`: scale -> PAPER or OURS -> its claims; `by_chance`: scale -> how many
    rows would hold if every true value lay at its bound."""

    artefact: Artefact
    has_script: bool
    scales: dict[str, dict[str, Claims]]
    by_chance: dict[str, float]


_SCRIPTS = {("gapo", "figure_scale_objective"): "figure_scale"}

ARTEFACTS = tuple(
    Artefact(paper, name, title)
    for paper, artefacts in {
        "panacea": {
            "figure3": "Reward distributions before and after alignment, at several preferences",
            "figure4": "Fronts after RLHF: Panacea, Rewarded Soups, a policy per preference",
            "figure5": "Fronts of implicit accuracy after DPO, linear and Tchebycheff",
            "figure6": "Responses to one prompt as the preference moves (with figure 8)",
            "figure7": "The learnt scale of the preference against fixed ones",
            "tables": "Hyper-parameters of Panacea with RLHF and with DPO (Tables 1 and 2)",
            "figure_dimensions": "Three and four objectives: hypervolume, inner product, sparsity, spacing",
            "figure_tchebycheff": "Tchebycheff against linear scalarisation, in RLHF and in DPO (appendix B)",
            "figure_adapter": "SVD-LoRA: rank 4 against full fine-tuning, scales, orthogonality (section 4.1)",
            "theory": "Lemma 4.2, propositions 4.4 and 4.5, equations 8 and 13, every policy allowed",
            "figure_worlds": "Figure 4 in several worlds, a world as the unit",
            "misalignment": "Labels of mixed labelers train a preference that nobody holds (theorem A.4)",
        },
        "gapo": {
            "table_main": "Helpful and harmless rewards of all methods",
            "table_harmless_ratio": "Share of harmless responses, method by method",
            "figure_pareto": "P-GAPO, MORLHF and Rewarded Soups over users' preferences",
            "figure_scale": "Which methods follow an objective whose reward is multiplied",
            "figure_scale_objective": "Which methods follow an objective that is multiplied, KL term and all",
            "figure_probe": "Last-layer against all-parameter gradients: cosine, weights, fronts, cost",
            "figure_progress": "Measured progress of each objective against its gradient's norm (theorems 3.1, 3.3)",
            "figure_convergence": "Whether policies come nearer to Pareto stationary (convergence guarantees)",
            "figure_balance": "Whether GAPO is the most balanced and the best on average, and why",
        },
        "ham": {
            "figure3": "Fronts: harmless and helpful",
            "figure4": "Fronts: harmless and humorous",
            "figure5": "Fronts: faithful and free of hallucination",
            "figure6": "Fronts: harmless, helpful and humorous",
            "figure7": "Mean rewards over the front, harmless, helpful and humorous (radar)",
            "figure8": "Fronts per head, and as the number of heads grows",
            "tables": "Responses of single heads (Tables 1 to 4), hyper-parameters (Table 5)",
            "figure_structure": "Why likelihood weighted per objective prefers mixtures; scalarising first",
            "theory": "Greedy maximisation of the hypervolume (proposition 1), errors of its estimates (3.6)",
            "figure_warm_up": "Heads alive and hypervolume as less of HaM's training is linear scalarisation",
            "theorem1": "The bound on the error of the estimated hypervolume",
        },
        "cross": {
            "table_methods": "All methods on one world, each at the best of the same rates, against the best policies",
            "figure_fronts": "What half of the seeds' fronts attain, beside the exact front",
            "figure_unseen": "Preferences between those that methods were tuned at",
            "figure_budget": "What more updates buy whom",
            "figure_scale": "Who follows an objective whose reward is multiplied, of all that sample",
            "products": "Every policy by every objective by every aggregation",
            "transfer": "Whether a real model agrees with the small world",
        },
    }.items()
    for name, title in artefacts.items()
)


def find_root(root: str | Path | None = None) -> Path:
    """The repository's root: `root`, else the working folder, else where this package was checked out.

    Raises:
        UserError: there is no folder `experiments` in it.
    """
    tried = [Path(root)] if root is not None else [Path.cwd(), Path(__file__).resolve().parents[2]]
    for folder in tried:
        if (folder / "experiments").is_dir():
            return folder
    raise UserError(f"{tried[0]}: no folder experiments in it; allowed is the repository's root (see --root)")


def standings(root: str | Path) -> list[Standing]:
    """The standing of each artefact under the repository's root, in the order of ARTEFACTS.

    Raises:
        UserError: a claims.csv that doesn't keep to the schema.
    """
    root = Path(root)
    found = []
    for artefact in ARTEFACTS:
        script = root / "experiments" / artefact.paper / f"{artefact.script}.py"
        folder = root / "results" / artefact.paper / artefact.name
        names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        claims = {name: _claims(folder / name) for name in names if any((folder / name).iterdir())}
        scales = {name: standing_of(frame) for name, frame in claims.items()}
        chance = {name: by_chance(frame) for name, frame in claims.items()}
        found.append(Standing(artefact, script.is_file(), scales, chance))
    return found


def standing_of(claims: pd.DataFrame) -> dict[str, Claims]:
    """PAPER and OURS -> how a CLAIMS table's rows stand."""
    found = {}
    for whose in (PAPER, OURS):
        mine = claims[claims["whose"] == whose]
        found[whose] = Claims(Counter(mine["verdict"]), Counter(mine["verdict_holm"]))
    return found


def verdict_counts(claims: Claims) -> str:
    """Such as `3 of 6 hold (2 with Holm), 1 level, 2 fail (0 with Holm)`; `-` where no claim was judged."""
    counts, left = claims.alone, claims.adjusted
    parts = []
    for key in (HOLDS, IS_LEVEL, NOISE, FAILS, ONE_SEED):
        word = {HOLDS: "hold", FAILS: "fail"}.get(key, key)
        share = f"{counts[key]} of {claims.claims}" if key == HOLDS else f"{counts[key]}"
        holm = (
            f" ({left[key]} with Holm)"
            if key in (HOLDS, IS_LEVEL, FAILS) and left[key] != counts[key]
            else ""
        )
        if key == HOLDS or counts[key]:
            parts.append(f"{share} {word}{holm}")
    return ", ".join(parts) if claims.claims else "-"


def _claims(folder: Path) -> pd.DataFrame:
    file = folder / CLAIMS.file
    return CLAIMS.read(file) if file.exists() else claims_frame([])
