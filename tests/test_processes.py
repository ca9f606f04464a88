"""What processes work out together: values and gradients on one process, and on two that each have a share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_moa.errors import UserError
from lightning_moa.objectives.base import labelled_mean, per_example
from lightning_moa.processes import (
    all_objects,
    any_of,
    average_gradients,
    from_first,
    full_size,
    gathered,
    is_partitioned,
    joint_mean,
    largest,
    own_share,
    rank,
    rows_of_joint_batch,
    summed,
    together,
    wait_for_all,
    world_size,
)
from tests.forked import of_two
from tests.study.starts import free_port

TIMEOUT = 120
CPU = torch.device("cpu")
ROWS, WIDTH, M = 12, 5, 3
GROUPS = (1, 2, 3, 4, 6, 12)
"""Of preferences; 3 and 1 do not end where the first process's rows do."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(WIDTH, M).double()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of all processes, and which of them are labelled: unevenly, one objective in the last half alone."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    labelled = torch.rand(ROWS, M, generator=generator) < 0.6
    labelled[: ROWS // 2, 1] = False
    labelled[ROWS // 2 :, 1] = True
    labelled[:, 2] &= torch.arange(ROWS) != 3
    return inputs, labelled


def gradient(net: nn.Module, loss: torch.Tensor) -> torch.Tensor:
    """The gradient that a strategy steps by: its average over the processes."""
    net.zero_grad()
    loss.backward()
    average_gradients(net.parameters())
    return torch.cat([each.grad.flatten() for each in net.parameters()])


def findings() -> dict[str, torch.Tensor]:
    """Values and gradients of everything on this process's share of the batch: a maximum and a product of means."""
    net, (inputs, labelled) = network(), batch()
    rows = rows_of_joint_batch(ROWS // world_size())
    found = {"rows": rows}
    values = net(inputs[rows]).square()
    mean = joint_mean(values.sum(), values.numel())
    found["mean"], found["gradient of mean"] = mean.detach(), gradient(net, mean)
    for groups in (None, *GROUPS):
        preference = torch.ones(M) if groups is None else torch.ones(groups, M)
        values = net(inputs[rows]).square()
        # What is not labelled may hold anything.
        values = torch.where(labelled[rows], values, torch.full_like(values, float("nan")))
        means = labelled_mean(values, labelled[rows], preference)
        found[f"{groups}"] = means.detach()
        found[f"gradient of {groups}"] = gradient(net, means.max() + means.prod(-1).sum())
    return found


def others() -> dict[str, object]:
    """What needs no gradient, on two processes; rank r holds r + 1 of what is uneven."""
    of_none = joint_mean(torch.zeros(2, requires_grad=True), torch.zeros(2, dtype=torch.int64))
    parameter = nn.Parameter(torch.zeros(2))
    if rank():
        parameter.grad = torch.tensor([2.0, 4.0])
    average_gradients([parameter])
    refused = ""
    try:
        per_example(torch.ones(8, M), ROWS // 2)
    except UserError as error:
        refused = str(error)
    wait_for_all()
    return {
        "where": [together(), world_size(), rank()],
        "summed": summed(torch.tensor([1.0, rank() + 1.0], requires_grad=True)).tolist(),
        "of none": of_none.tolist(),
        "uneven": float(joint_mean(torch.ones(rank() + 1).sum() * (rank() + 1), rank() + 1)),
        "averaged": parameter.grad.tolist(),
        "any": [any_of(rank() == 1, CPU), any_of(True, CPU), any_of(False, CPU)],
        "largest": [largest(10 + 5 * (1 - rank()), CPU), largest(-rank(), CPU)],
        "share": list(own_share(range(5))),
        "objects": all_objects({"of": rank(), "rows": [None] * rank()}),
        "first": from_first(f"of {rank()}"),
        "per example": per_example(torch.arange(3.0)[:, None], ROWS // 2).flatten().tolist(),
        "refused": refused,
    }


def work(process: int, port: int, folder: str) -> None:
    """In one of two processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=process, world_size=2)
    torch.save({"findings": findings(), "others": others()}, Path(folder) / f"{process}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What each of two processes finds."""
    return of_two(work, free_port(), tmp_path_factory.mktemp("pair"), TIMEOUT)


def test_one_process_alone():
    assert not together()
    assert (world_size(), rank()) == (1, 0)
    total = torch.tensor([4.0, 3.0], requires_grad=True)
    mean = joint_mean(total, torch.tensor([2, 0]))
    assert mean.tolist() == [2.0, 3.0]
    mean.sum().backward()
    assert total.grad.tolist() == [0.5, 1.0]
    assert float(joint_mean(torch.tensor(3.0), 0)) == 3.0
    assert rows_of_joint_batch(3).tolist() == [0, 1, 2]
    assert summed(total).tolist() == [4.0, 3.0]
    assert not summed(total).requires_grad
    parameter = nn.Parameter(torch.ones(2))
    average_gradients([parameter])
    assert parameter.grad is None
    assert [any_of(True, CPU), any_of(False, CPU), largest(7, CPU)] == [True, False, 7]
    assert all_objects("a") == ["a"]
    assert from_first("a") == "a"
    assert list(own_share(range(3))) == [0, 1, 2]
    wait_for_all()


def test_joint_means_on_one_process_are_plain_means():
    """Bit for bit what a run of one process has always computed."""
    values = torch.randn(8, M, generator=torch.Generator().manual_seed(0))
    everything = torch.ones(8, M, dtype=torch.bool)
    assert torch.equal(labelled_mean(values, everything, torch.ones(M)), values.sum(0) / 8)
    groups = labelled_mean(values, everything, torch.ones(4, M))
    assert torch.equal(groups, values.reshape(4, 2, M).sum(1) / 2)


def test_nothing_is_gathered_where_nothing_is_shared_out():
    net = network()
    assert not is_partitioned(net)
    with gathered(net.parameters(), write=True):
        assert full_size(net.weight) == WIDTH * M


def test_two_processes_have_the_means_and_gradients_of_one(pair):
    alone = findings()
    first, second = (each["findings"] for each in pair)
    assert torch.cat([first.pop("rows"), second.pop("rows")]).tolist() == alone.pop("rows").tolist()
    for name, expected in alone.items():
        assert torch.isfinite(expected).all()
        assert expected.abs().max() > 1e-3, name
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=1e-12, atol=1e-14, msg=name)
    assert alone["3"].shape == (3, M)
    # An objective without a label in some of the shares is 0 there.
    assert (alone["4"][:2, 1] == 0).all()


def test_what_two_processes_agree_on(pair):
    first, second = (each["others"] for each in pair)
    assert first.pop("where") == [True, 2, 0]
    assert second.pop("where") == [True, 2, 1]
    assert first.pop("share") == [0, 2, 4]
    assert second.pop("share") == [1, 3]
    assert first.pop("per example") == [0.0] * 4 + [1.0] * 2
    assert second.pop("per example") == [1.0] * 2 + [2.0] * 4
    assert first == second
    assert first == {
        "summed": [2.0, 3.0],
        "of none": [0.0, 0.0],
        # 1 of one row and 2 of each of two.
        "uneven": pytest.approx(5 / 3),
        "averaged": [1.0, 2.0],
        "any": [True, True, False],
        "largest": [15, 0],
        "objects": [{"of": 0, "rows": []}, {"of": 1, "rows": [None]}],
        "first": "of 0",
        "refused": "8 preferences for a batch of 12 rows: the rows must divide evenly among them",
    }
