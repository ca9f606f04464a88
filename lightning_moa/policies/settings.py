"""The settings of this room's answers, each a section of a study's configuration. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_moa.errors import UserError
from lightning_moa.fields import option

ALL_TARGETS = ("all-linear-and-head", "all-linear")
"""What `adapter.targets` may be for every model."""


@dataclass
class AdapterConfig:
    """The adapter that all policies of a study share in size."""

    rank: int = option(
        8, "k: preference-agnostic singular values (baselines without a preference get k + 1)", at_least=1
    )
    scaling: float = option(1.0, "factor on the low-rank update", above=0)
    targets: str = option(
        "all-linear-and-head",
        "linear layers adapted: all-linear-and-head, all-linear, a part of their names, or several, [q_proj,v_proj]",
    )
    dropout: float = option(0.0, "dropout on the adapter's input", at_least=0, at_most=1)
    fixed_scale: float | None = option(None, "Panacea's factor on the preference; empty: learned")
    orthogonality: float = option(0.0, "weight of the penalty |U'U-I|^2 + |V'V-I|^2", at_least=0)

    def check_plain(self, policy: str) -> None:
        """Refuse what a policy without singular vectors can't have."""
        if self.orthogonality:
            raise UserError(
                f"adapter.orthogonality={self.orthogonality:g}: {policy} has no singular vectors; allowed is 0"
            )


@dataclass
class HeadsConfig:
    """HaM's policies: heads on one backbone."""

    number: int = option(5, "K: heads, each a policy", at_least=1)
    rank: int | None = option(
        None, "rank of each head's update of the model's own head; empty: a full head", at_least=1
    )
    jitter: float = option(
        0.0, "standard deviation of noise on each of several heads at the start", at_least=0
    )
    warm_up: int = option(
        0,
        "updates, before the hypervolume's, in which head k maximises a scalarisation of its own",
        at_least=0,
    )
    volume: str = option(
        "exact", "how the hypervolume is computed", choices=("exact", "inclusion_exclusion", "random")
    )
    fronts: str = option(
        "first",
        "whose hypervolume: first, all heads', in which those that are dominated have no gradient (the paper), or all: "
        "that of each front of non-dominated sorting, summed, in which every head has one",
        choices=("first", "all"),
    )
    scalarisations: int = option(1024, "random directions of an update, where volume=random", at_least=1)
    directions: int | None = option(
        None,
        "where likelihood.weigh=scalarise_first: preferences on an even grid, each an objective of the hypervolume; "
        "empty: 2 m - 1",
        at_least=1,
    )
    watch: int = option(
        50,
        "updates between two looks at the heads (alive, KL, likelihood), kept in the run; 0: none",
        at_least=0,
    )
    watch_rows: int = option(512, "offline rows that such a look is taken on", at_least=1)


@dataclass
class RiCConfig:
    """Rewards in the prompt."""

    marker: str = option("<r{i}>", "what stands before the reward of objective i, from 1", in_prompts=True)
    decimals: int = option(1, "decimals of a reward in the prompt", at_least=0)
    before: str = option(
        "", "the prompt's ending that the rewards go in front of; empty: at its end", in_prompts=True
    )
