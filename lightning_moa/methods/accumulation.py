"""How an update is made of several batches as of their rows together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightning_moa.processes import summed


def preference_of_batch(preference: Tensor, part: int, batches: int) -> Tensor:
    """What the rows of an update's batch are trained for.

    Args:
        preference: of the update: (m,), or (g, m) for g equal, contiguous shares of all its rows.
        part: which of its batches, from 0.
        batches: of the update, all of as many rows.

    Returns:
        (m,), or (h, m) for h equal shares of the batch.
        Where neither number is a multiple of the other, a share would end within a batch: each of them has all g
        then, for equal shares of its own.
    """
    groups = 1 if preference.ndim == 1 else len(preference)
    if batches == 1 or preference.ndim == 1:
        return preference
    if batches % groups == 0:
        return preference[part * groups // batches]
    if groups % batches == 0:
        size = groups // batches
        return preference[part * size : (part + 1) * size]
    return preference


def shares(counts: Sequence[Tensor | None], groups: int) -> list[Tensor | None]:
    """What each batch's means are multiplied by, so that their plain mean is the mean over the rows of all.

    Args:
        counts: of each batch: of how many entries of this process its losses are means, (count,) or (1,); None for as
            many in each batch. All processes must call it.
        groups: consecutive, equally many batches that have a mean in common: 1 for one mean over all of them. Where
            that can't be (there are more, or they don't divide the batches), none have.
    """
    known = [None if count is None else summed(count.float()) for count in counts]
    if len(counts) == 1 or len(counts) % groups or any(each is None for each in known):
        return [None] * len(counts)
    each = len(known) // groups
    found: list[Tensor | None] = []
    for first in range(0, len(known), each):
        own = [one for one in known[first : first + each] if one is not None]
        total = sum(own[1:], own[0]).clamp(min=1)
        found += [one * len(own) / total for one in own]
    return found
