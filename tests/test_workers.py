"""As many workers as there are cores to be had, which end without a word."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_a_worker_that_has_shown_a_bar_leaves_nothing_behind(tmp_path):
    """Transformers shows one where it loads weights; its lock would be a semaphore that nobody clears away."""
    (tmp_path / "barred.py").write_text(
        "def work(order):\n    from tqdm.auto import tqdm\n    list(tqdm(range(2), file=open('/dev/null', 'w')))\n"
    )
    script = tmp_path / "start.py"
    script.write_text(
        "from lightning_moa.workers import slots\n"
        "if __name__ == '__main__':\n"
        "    import barred\n"
        "    (slot, other) = slots(2, lambda key, share: None)\n"
        "    slot.submit(barred.work, None).result()\n"
        "    slot.close()\n"
        "    other.close()\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
