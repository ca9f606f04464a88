"""The peak of a run is its own, and not what the runs before have freed."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from lightning_moa.peak_memory import look_everywhere, peak_memory_mib, reset_peak_memory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
def test_freed_memory_is_no_part_of_the_next_runs_peak():
    reset_peak_memory()
    before = peak_memory_mib()
    # Below the size from which each has a mapping of its own; the last one keeps the heap from shrinking by itself.
    blocks = [bytearray(100_000) for _ in range(2000)]
    kept = blocks.pop()
    assert peak_memory_mib() > before + 150
    del blocks
    reset_peak_memory()
    assert peak_memory_mib() < before + 50
    assert len(kept) == 100_000


class Circular:
    """Garbage that is found by looking alone."""

    def __init__(self) -> None:
        self.itself = self


def test_garbage_of_a_run_goes_before_the_next_and_what_was_there_before_at_the_end():
    early = Circular()
    reset_peak_memory()
    late, seen = Circular(), [weakref.ref(early)]
    seen.append(weakref.ref(late))
    del early, late
    reset_peak_memory()
    assert seen[1]() is None
    look_everywhere()
    gc.collect()
    assert seen[0]() is None
