"""Which process of a run this one is, from what its launcher has put into the environment. Light: no torch.

A run on several devices is started once and starts the others itself (Lightning's way), or all at once by torchrun or
SLURM's srun.
"""

from __future__ import annotations

import os

from lightning_moa.errors import UserError


def is_main_process() -> bool:
    """False in the further processes of a run on several devices: they train along and publish nothing."""
    if "RANK" in os.environ:
        return int(os.environ["RANK"]) == 0
    if under_srun():
        return int(os.environ["SLURM_PROCID"]) == 0
    # Lightning starts its processes as this same script, with these two alone.
    return all(int(os.environ.get(name, 0)) == 0 for name in ("LOCAL_RANK", "NODE_RANK"))


def local_rank() -> int:
    """Place of this process among those of its machine: the index of its GPU."""
    if under_srun() and "LOCAL_RANK" not in os.environ:
        return int(os.environ["SLURM_LOCALID"])
    return int(os.environ.get("LOCAL_RANK", 0))


def started_processes() -> int:
    """Processes that torchrun or srun has started for this run; 1 where Lightning is to start the others."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if under_srun() else 1


def check_started(processes: int) -> None:
    """Raise `UserError` where torchrun or srun has started another number of processes than the run is to have, or
    srun was not told how many a machine has."""
    started = started_processes()
    if under_srun() and started > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UserError(
            f"srun has started {started} processes and doesn't say how many on each machine: ask for them by "
            "--ntasks-per-node, as launch/slurm.sh does"
        )
    if started not in (1, processes):
        raise UserError(
            f"{started} processes were started, and hardware.devices x hardware.nodes is {processes}: one for each "
            "device is needed"
        )


def under_srun() -> bool:
    """Whether srun has started this process as a task of a job (and not a user a shell in one, nor torchrun, which may
    itself be such a task)."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return False
    name = os.environ.get("SLURM_JOB_NAME", "")
    return (
        "SLURM_PROCID" in os.environ and "SLURM_NTASKS" in os.environ and name not in ("bash", "interactive")
    )
