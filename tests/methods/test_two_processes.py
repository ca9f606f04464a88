"""Two processes that share a batch make the update that one process makes of it: DDP on gloo, through Lightning."""

import subprocess
import sys

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.methods.two_processes import AGAIN, CASES, SAFE, build, fit, values

TIMEOUT = 300
"""Seconds; on an idle core it takes fifteen."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What each of two processes found, {case: [of the first, of the second]}; one start for all cases."""
    folder = tmp_path_factory.mktemp("pair")
    command = [sys.executable, "-m", "tests.methods.two_processes", str(folder)]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        case: [
            torch.load(folder / f"{case.replace('/', '-')}.{rank}.pt", weights_only=True) for rank in (0, 1)
        ]
        for case in CASES
    }


@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_updates_of_one(pair, case):
    alone, start = fit(case, 1), values(build(case).double())
    for found in pair[case]:
        for name in ("policy", "critic"):
            moved = (alone[name] - start[name]).norm()
            assert moved > 1e-3
            # In double precision; in single, the same comparison ends at some 5e-6.
            assert (found[name] - alone[name]).norm() < 1e-9 * moved
        torch.testing.assert_close(found["logs"], alone["logs"], rtol=1e-6, atol=0)
        torch.testing.assert_close(found["watched"], alone["watched"], rtol=1e-9, atol=1e-12)


def test_what_is_compared_is_what_it_is_meant_to_be(pair):
    """A look at every update for each kind of probe; two multipliers that have moved."""
    assert {case: len(found[0]["watched"]) for case, found in pair.items()} == {
        case: {SAFE: 0}.get(case, 2 * 3 * 3) for case in CASES
    }
    multipliers = pair[SAFE][0]["logs"]
    assert multipliers.shape == (2,)
    assert (multipliers - 1).abs().min() > 0.01
    assert not torch.equal(pair[AGAIN][0]["policy"], pair["gapo/last_layer"][0]["policy"])
