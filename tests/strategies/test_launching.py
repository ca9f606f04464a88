"""Which process of a run this one is, under each way of starting it."""

from __future__ import annotations

import pytest

from lightning_moa.errors import UserError
from lightning_moa.strategies.launching import (
    check_started,
    is_main_process,
    local_rank,
    started_processes,
    under_srun,
)

NAMES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "NODE_RANK",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "SLURM_JOB_NAME",
    "SLURM_NTASKS_PER_NODE",
    "TORCHELASTIC_RUN_ID",
)
SRUN = {"SLURM_JOB_NAME": "panacea", "SLURM_NTASKS": "8"}


@pytest.mark.parametrize(
    ("environment", "main", "local", "started"),
    [
        pytest.param({}, True, 0, 1, id="alone"),
        pytest.param({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True, 0, 1, id="Lightning's first"),
        pytest.param({"LOCAL_RANK": "1"}, False, 1, 1, id="Lightning's second"),
        pytest.param({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False, 0, 1, id="Lightning's second machine"),
        pytest.param({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}, True, 0, 4, id="torchrun's first"),
        pytest.param({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}, False, 1, 4, id="torchrun's last"),
        pytest.param(
            {"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "4"},
            False,
            0,
            4,
            id="torchrun's first on its second machine",
        ),
        pytest.param(SRUN | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, True, 0, 8, id="srun's first"),
        pytest.param(SRUN | {"SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, False, 1, 8, id="srun's sixth"),
        pytest.param(
            {"SLURM_JOB_NAME": "panacea", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2"}
            | {"RANK": "4", "LOCAL_RANK": "0", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "1"},
            False,
            0,
            8,
            id="torchrun under srun",
        ),
        pytest.param(
            {"SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4"},
            True,
            0,
            1,
            id="a shell in a job",
        ),
        pytest.param(
            {"SLURM_JOB_NAME": "panacea", "SLURM_NTASKS": "4"}, True, 0, 1, id="sbatch without srun"
        ),
    ],
)
def test_which_process_this_is(environment, main, local, started, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (is_main_process(), local_rank(), started_processes()) == (main, local, started)


def test_another_number_of_processes_than_devices_is_refused(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    check_started(4)  # Lightning is to start the others.
    for name, value in {"RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    check_started(4)
    with pytest.raises(UserError, match=r"4 processes were started, .* is 8: one for each device is needed"):
        check_started(8)


def test_srun_must_say_how_many_a_machine_has(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    given = SRUN | {"SLURM_PROCID": "5", "SLURM_LOCALID": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"8 processes .* ask for them by --ntasks-per-node"):
        check_started(8)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    check_started(8)
    # torchrun's own count stands, wherever it was started from.
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "WORLD_SIZE": "16"}.items():
        monkeypatch.setenv(name, value)
    assert not under_srun()
    check_started(16)


def test_an_interactive_jobs_shell_is_no_task_of_srun(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**SRUN, "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert under_srun()
    for shell in ("bash", "interactive"):
        monkeypatch.setenv("SLURM_JOB_NAME", shell)
        assert not under_srun()
