"""launch/slurm.sh, run with stand-ins for SLURM's own commands: what it hands on, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "launch" / "slurm.sh"
FIGURE = "experiments/panacea/figure5.py"
JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "moa",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_CPUS_PER_TASK": "3",
}
SRUN = f"""#!{sys.executable}
# Notes what it was asked, and runs the command as the job's first task.
import itertools, json, os, sys
options = list(itertools.takewhile(lambda word: word.startswith("--"), sys.argv[1:]))
command = sys.argv[1 + len(options):]
kept = {{key: value for key, value in os.environ.items() if key.startswith(("SLURM_", "OMP_", "HF_", "TOKENIZERS_"))}}
with open("srun.json", "w") as file:
    json.dump({{"options": options, "command": command, "environment": kept}}, file)
if os.environ.get("RUN"):
    ntasks = next(word.partition("=")[2] for word in options if word.startswith("--ntasks="))
    task = dict(SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NODEID="0", SLURM_NTASKS=ntasks)
    os.execve(command[0], command, os.environ | task)
"""
SCONTROL = """#!/bin/sh
echo "$@" >> scontrol.txt
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository as `make install` leaves it, and SLURM's commands beside it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(text)
        command.chmod(0o755)
    return tmp_path


def launch(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As SLURM does it: a copy of the file, elsewhere, with its variables and those of the user."""
    copied = folder / "spool" / "slurm_script"
    copied.parent.mkdir(exist_ok=True)
    shutil.copy(SCRIPT, copied)
    own = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "HF_", "OMP_"))}
    own["PATH"] = f"{folder / 'bin'}{os.pathsep}{own['PATH']}"
    own |= JOB | {"SLURM_SUBMIT_DIR": str(folder)} | environment
    given = {key: value for key, value in own.items() if value}
    return subprocess.run(
        ["bash", str(copied), *words], cwd=copied.parent, env=given, capture_output=True, text=True
    )


def directives() -> dict[str, str]:
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.M)
    return dict(found)


def test_bash_can_read_it() -> None:
    assert os.access(SCRIPT, os.X_OK)
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


def test_it_stops_at_the_first_failure_and_names_no_machine() -> None:
    text = SCRIPT.read_text()
    assert "set -euo pipefail" in text
    assert not re.search(r"(?<![\w.<])/(home|work|data|scratch|mnt|opt|tmp|Users)\b", text)
    # Unquoted, a value with a space or a [..] would reach the script in pieces, or as the files that it matches.
    commands = "".join(line for line in text.splitlines(True) if not line.startswith("#"))
    assert '"$@"' in commands
    assert not re.search(r'(?<!")\$@', commands.replace('"$@"', ""))


def test_what_it_asks_of_slurm() -> None:
    found = directives()
    assert found["signal"] == "SIGUSR1@180"
    assert "requeue" in found
    assert found["open-mode"] == "append"
    assert found["ntasks-per-node"] == found["gpus-per-node"] == "8", "the paper scale's eight GPUs"
    assert found["job-name"] not in ("bash", "interactive"), "the names of SLURM's own shells"
    text = SCRIPT.read_text()
    assert text.rindex("#SBATCH") < text.index("set -euo"), "SLURM reads them above the first command alone"
    assert len(found) == text.count("\n#SBATCH"), "each once, none with a typing error"


def test_one_task_a_gpu_and_the_script_is_told(folder: Path) -> None:
    done = launch(
        folder, FIGURE, "scale=paper", "seeds=[1, 2]", "data.template={prompt} ->", HF_HUB_OFFLINE="1"
    )
    assert done.returncode == 0, done.stderr
    asked = json.loads((folder / "srun.json").read_text())
    assert asked["options"] == [
        "--nodes=2",
        "--ntasks=8",
        "--ntasks-per-node=4",
        "--cpus-per-task=3",
        "--kill-on-bad-exit=1",
    ]
    python, *words = asked["command"]
    assert python == ".venv/bin/python"
    assert words[:4] == [FIGURE, "scale=paper", "seeds=[1, 2]", "data.template={prompt} ->"]
    assert words[4:] == ["hardware.devices=4", "hardware.nodes=2"]
    environment = asked["environment"]
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["HF_HUB_OFFLINE"] == "1", "the user's own go on to the tasks"
    assert not (folder / "scontrol.txt").exists(), "queueing again is the study's own, once it has saved"


def test_what_slurm_gave_wins_over_the_users_words(folder: Path) -> None:
    """The last of two words for the same key is the one that counts."""
    launch(folder, FIGURE, "hardware.devices=64")
    assert json.loads((folder / "srun.json").read_text())["command"][-2:] == [
        "hardware.devices=4",
        "hardware.nodes=2",
    ]


def test_the_scripts_own_exit_code_comes_through(folder: Path) -> None:
    done = launch(folder, FIGURE, "scale=smoke", "dpo.bta=0.1", RUN="1")
    assert done.returncode == 2
    assert "there is no key 'dpo.bta' (did you mean beta?)" in done.stderr
    helped = launch(folder, FIGURE, "--help", RUN="1")
    assert helped.returncode == 0
    assert "hardware.devices" in helped.stdout


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        ([], {}, "a script is needed"),
        ([FIGURE], {"SLURM_JOB_ID": ""}, "this is for SLURM"),
        (["experiments/panacea/figure55.py"], {}, "figure55.py: no such script"),
        ([FIGURE], {"SLURM_NTASKS_PER_NODE": ""}, "--ntasks-per-node is not set"),
        ([FIGURE], {"SLURM_GPUS_ON_NODE": "8"}, "--ntasks-per-node=4 on nodes of 8 GPUs"),
    ],
)
def test_what_it_refuses_in_one_line(
    folder: Path, words: list[str], environment: dict[str, str], message: str
) -> None:
    done = launch(folder, *words, **environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (folder / "srun.json").exists()


def test_without_an_installation_it_says_what_to_do(folder: Path) -> None:
    (folder / ".venv").unlink()
    done = launch(folder, FIGURE)
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("make install")
