"""The largest resident memory of this process, run by run."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

_CLEAR_REFS = Path("/proc/self/clear_refs")
_frozen = False


def reset_peak_memory() -> None:
    """Let the peak that Linux keeps of this process start anew, since a worker lives for many runs.

    What the runs before have freed goes back to the machine first: the C library would keep it, for this process alone,
    and it would count as the next run's. Of garbage in cycles it looks only among what has come since the first call:
    before that come the libraries' half a million objects, through which each look takes as long as a small run.
    `look_everywhere` ends that."""
    global _frozen
    gc.collect()
    if not _frozen:
        gc.freeze()
        _frozen = True
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # Of glibc.
            trim(0)
    if _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text("5")


def look_everywhere() -> None:
    """Let what was there at the first reset be looked through for garbage again: this process goes on without runs."""
    global _frozen
    gc.unfreeze()
    _frozen = False


def peak_memory_mib() -> float:
    """Largest resident memory of this process since the last reset (elsewhere than on Linux: since its start)."""
    if _CLEAR_REFS.exists():
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
