"""Two processes that share a batch make the update that one process makes of it: DDP on gloo, through Lightning."""

import torch

from tests import forked
from tests.methods.two_processes import AGAIN, CASES, SAFE, build, fit, values
from tests.study.starts import by_torchrun


def of_a_pair(folder):
    """What each of two processes found, {case: [of the first, of the second]}; one start for all cases."""
    shown = folder / "shown"
    pair = [
        forked.start("tests.methods.two_processes", [str(folder)], out=shown, environment=environment)
        for environment in by_torchrun(2)
    ]
    for process in pair:
        process.join(forked.TIMEOUT)
    assert [process.exitcode for process in pair] == [0, 0], shown.read_text()[-3000:]
    return {
        case: [
            torch.load(folder / f"{case.replace('/', '-')}.{rank}.pt", weights_only=True) for rank in (0, 1)
        ]
        for case in CASES
    }


def test_two_processes_make_the_updates_of_one(tmp_path):
    """One test for all cases: split among workers, each would start a pair of its own."""
    pair = of_a_pair(tmp_path)
    for case in CASES:
        alone, start = fit(case, 1), values(build(case).double())
        for found in pair[case]:
            check(case, found, alone, start)
    check_what_is_compared(pair)


def check(case, found, alone, start):
    """A process's findings against those of one process alone."""
    for name in ("policy", "critic"):
        moved = (alone[name] - start[name]).norm()
        assert moved > 1e-3, case
        # In double precision; in single, the same comparison ends at some 5e-6.
        assert (found[name] - alone[name]).norm() < 1e-9 * moved, (case, name)
    for name in ("logs", "watched"):
        assert found[name].shape == alone[name].shape, (case, name)
        assert torch.allclose(found[name], alone[name], rtol=1e-6, atol=1e-12), (case, name)


def check_what_is_compared(pair):
    """A look at every update for each kind of probe; two multipliers that have moved; cases that differ."""
    assert {case: len(found[0]["watched"]) for case, found in pair.items()} == {
        case: {SAFE: 0}.get(case, 2 * 3 * 3) for case in CASES
    }
    multipliers = pair[SAFE][0]["logs"]
    assert multipliers.shape == (2,)
    assert (multipliers - 1).abs().min() > 0.01
    assert not torch.equal(pair[AGAIN][0]["policy"], pair["gapo/last_layer"][0]["policy"])
