"""As many workers as there are cores to be had."""

from __future__ import annotations

import os

import pytest

from lightning_moa.workers import cores


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="processes are bound to cores on Linux alone"
)
def test_cores_are_those_that_this_process_may_use():
    mine = os.sched_getaffinity(0)
    assert cores() == len(mine)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, mine)
