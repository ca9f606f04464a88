"""The order in which rows are taken, so that the first of them stand for all."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def stable_hash(*parts: str) -> int:
    """A 64-bit number that depends on the texts alone: the same on every machine, in every order of rows."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


def spread(texts: Sequence[tuple[str, ...]], subsets: Sequence[str], seed: int) -> np.ndarray:
    """(n,) places of n rows in an order whose first N hold each of K subsets' share s of N, within (1 + K s) / 2.

    Within a subset rows stand in a random order, which hangs on the seed and on a row's own texts alone: neither other
    rows nor the order of files change who comes before whom.

    Args:
        texts: what tells rows apart; equal ones stay in their order.
        subsets: where each comes from.
        seed: of the order.
    """
    hashes = [stable_hash(str(seed), *row) for row in texts]
    members: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(texts)), key=hashes.__getitem__):
        members[subsets[place]].append(place)
    share = np.empty(len(texts))
    for places in members.values():
        share[places] = (np.arange(len(places)) + 0.5) / len(places)
    return np.array(
        sorted(range(len(texts)), key=lambda place: (share[place], hashes[place])), dtype=np.int64
    )
