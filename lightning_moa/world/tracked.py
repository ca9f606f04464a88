"""A language that remembers what a response has earned, so that a function of whole responses has an exact optimum.

Soft dynamic programming needs what it maximises to be a sum over words. A function f of a response's rewards is one
over states that hold the rewards so far: a word that leads from sums a to sums b earns f(b) - f(a), and these add up to
f of the response. Where rewards come in steps, sums are few, and the states can be listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.world.language import START, Language, RewardTables
from lightning_moa.world.policy import Policy


@dataclass(frozen=True, eq=False)
class Tracked(Language):
    """A language of one kind of prompt, its states split by the rewards so far.

    Only what its reference may say is tracked: a word outside of that has probability 0 here under every policy, and
    where it leads has no meaning.
    """

    base: Language
    origin: np.ndarray
    """(S',) int, the state of `base` that each state is a part of."""
    sums: np.ndarray
    """(S', m) the rewards so far."""

    @classmethod
    def of(cls, base: Language, tables: RewardTables) -> Self:
        """The states that the reference can reach.

        Raises:
            UserError: more than one kind of prompt, or words of a group that earn differently.
        """
        if base.log_groups.shape[2] != 1 or tables.scale.any():
            raise UserError("tracked: allowed are one kind of prompt, and words of a group that earn alike")
        earned, possible = tables.offset[..., 0], np.isfinite(base.log_groups[..., 0])
        nowhere = np.full(len(possible), START)
        reached = [(START, (0.0,) * len(earned))]
        places, following = {reached[0]: START}, [nowhere.copy()]
        for _ in range(base.limit):
            before, reached = reached, []
            for node in before:
                here, sums = node
                for group in np.flatnonzero(possible[:, here]).tolist():
                    so_far = tuple(np.add(sums, earned[:, group, here]).tolist())
                    after = (int(base.next_state[group, here]), so_far)
                    if after not in places:
                        places[after] = len(places)
                        following.append(nowhere.copy())
                        reached.append(after)
                    following[places[node]][group] = places[after]
        origin = np.array([here for here, _ in places])
        sums_of = np.array([sums for _, sums in places])
        kept = {field.name: getattr(base, field.name) for field in fields(Language)}
        kept |= {"next_state": np.stack(following, axis=1), "log_groups": base.log_groups[:, origin]}
        return cls(**kept, base=base, origin=origin, sums=sums_of)

    @property
    def limit(self) -> int:
        return self.base.limit

    @property
    def modes(self) -> tuple[str, ...]:
        return self.base.modes

    @property
    def eos(self) -> int:
        return self.base.eos

    def parse_prompt(self, text: str) -> tuple[int, int]:
        """As the base."""
        return self.base.parse_prompt(text)

    def tables(self, of_sums: Callable[[np.ndarray], np.ndarray]) -> RewardTables:
        """The tables in which a response earns `of_sums` of its rewards, (n, m) to (n, k), which is 0 at 0."""
        worth = of_sums(self.sums)
        offset = worth[self.next_state] - worth
        offset = np.moveaxis(offset, -1, 0)[..., None]
        return RewardTables(np.zeros_like(offset), offset, np.ones((worth.shape[1], len(self.words))))

    def lift(self, policy: Policy) -> Policy:
        """A policy over `base`, which forgets what a response has earned, as one over these states."""
        return Policy(
            policy.log_groups[:, :, self.origin], tuple(log[:, self.origin] for log in policy.log_tokens)
        )
