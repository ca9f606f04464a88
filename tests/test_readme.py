"""Every command in the README and in docs/scaling.md is run, at the smoke scale; every line of its Python example too.

What needs GPUs, a cluster or the hub is read instead: its script is there and takes its arguments.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lightning_moa as moa
from lightning_moa.commands import demo
from lightning_moa.demo.choices import choices
from lightning_moa.methods.products import Product
from lightning_moa.reporting.catalogue import ARTEFACTS, Claims, Standing, standings
from lightning_moa.reporting.console import Parser
from lightning_moa.reporting.readme import with_verdicts
from lightning_moa.rewards.table import MODELS
from lightning_moa.study.artefacts import study_of
from lightning_moa.study.planning import plan_study
from tests import forked

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
SCALING = (ROOT / "docs" / "scaling.md").read_text()
LAPTOP = (ROOT / "docs" / "laptop.md").read_text()


def commands_of(text: str) -> list[str]:
    """The lines of a page's console blocks that a user types."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    typed = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line.removeprefix("$ ").strip() for line in typed]


def is_large(command: str) -> bool:
    """Whether a command is for GPUs, a cluster or the hub, or takes hours; the laptop's has a test of its own."""
    words = command.split()
    if words[0] in ("sbatch", "torchrun", "hf", "export") or {
        "scale=laptop",
        "scale=gpu",
        "scale=paper",
    } & set(words):
        return True
    # Its tiny size has a test of its own.
    return "benchmarks.gpu_7b" in words


EVERY = list(dict.fromkeys(commands_of(TEXT) + commands_of(SCALING) + commands_of(LAPTOP)))
COMMANDS = [command for command in EVERY if not is_large(command)]
LARGE = [command for command in EVERY if is_large(command)]
SMALL = (
    "scale=smoke",
    "workers=1",
    "runs_dir=runs",
    "results_dir=made",
    # What makes it small here is said of every command alike, and is no reader's second thought.
    "replace=true",
    "sft.steps=3",
    "reward_model.steps=2",
    "evaluation.prompts=16",
)
SMALLER = {
    "panacea": ("dpo.steps=2",),
    "gapo": ("ppo.steps=2",),
    "ham": ("likelihood.steps=2", "likelihood.rows=60", "online.rounds=1"),
}
"""As few updates as possible: what a script leaves has tests of its own."""


TINY = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}
COMPARED = (
    *(f"model.{key}={value}" for key, value in TINY.items()),
    *("workers=1", "seeds=[0,1]", "data.pairs=40", "data.eval_pairs=24", "data.sft_rows=64"),
    *("sft.steps=3", "sft.batch_size=16", "reward_model.steps=2", "reward_model.batch_size=8"),
    *("evaluation.prompts=12", "evaluation.pairs=12", "evaluation.grid_step=0.5"),
)
STUDY = "results/panacea/figure5/smoke"
"""What the page's commands call a study that was finished before them."""

JOINED = ("seeds=[0]", "dpo.steps=1", "evaluation.grid_step=1")
"""Several processes start slowly, and make a fresh engine for each policy."""


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the repository's scripts and results, and a file of pairs."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("experiments", "examples", "results"):
        (folder / name).symlink_to(ROOT / name)
    rows = [
        {
            "prompt": f"How do I fix chair number {i}?",
            "response_0": f"Take glue, a clamp and an hour of time for chair {i}.",
            "response_1": "Buy another." + " Really." * (i % 5),
            "helpful_better_id": i % 2,
            "verbose_better_id": 0,
        }
        for i in range(60)
    ]
    (folder / "my_pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = moa.TrainingData(folder / "my_pairs.jsonl", {"short": "shorter"}, vocab_size=300)
    model = moa.build_model(tokenizer=data.tokenizer, **TINY)
    moa.save_model(model, folder / "my_model")
    data.tokenizer.save_pretrained(folder / "my_model")
    (folder / "theirs.csv").write_text("algorithm,run,help,safe\nx,0,1,2\nx,1,2,1\ny,0,0,1\n")
    (folder / "answers.csv").write_text("prompt,response\nexplain boats,sure boats\n")
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> str:
    """Results of the smoke study that the page's commands use, in this folder."""
    words = [*SMALL, *SMALLER["panacea"], "scale=smoke", "results_dir=finished"]
    done = forked.run(ROOT / "experiments" / "panacea" / "figure5.py", words, folder=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return "finished/panacea/figure5/smoke"


def test_there_are_commands() -> None:
    assert {"make reproduce", "make test", "moa list"} <= set(COMMANDS)


def example_words(words: list[str]) -> list[str]:
    """What makes an example small."""
    name = Path(words[0]).stem
    if name == "train_by_yaml":
        pytest.importorskip("jsonargparse")
        return [*words[1:], "--trainer.accelerator=cpu", "--trainer.max_steps=2"]
    if name == "compare_two_methods":
        return ["dpo.steps=2", "dpo.batch_size=8", "results_dir=made", *COMPARED]
    return [*words[1:], "--limit=32", "--steps=2", f"--out=made_{name}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, folder: Path, request: pytest.FixtureRequest) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        run([*words, "--dry-run"], ROOT)
    elif words[:1] == ["python"] and words[1].startswith("examples/"):
        done = forked.run(ROOT / words[1], example_words(words[1:]), folder=folder)
        assert done.returncode == 0, done.stderr[-2000:]
        for saved in folder.glob(f"made_{Path(words[1]).stem}/polic*"):
            assert moa.load_policy(moa.load_model(saved.parent / "base"), saved).trained_state()
    elif words[0] == "python":
        assert words[1].startswith("experiments/")
        more = JOINED if any("hardware.devices" in word for word in words) else ()
        given = [word for word in words[2:] if "scale=" not in word]
        smaller = SMALLER[words[1].split("/")[1]]
        done = forked.run(ROOT / words[1], [*given, *SMALL, *smaller, *more], folder=folder)
        assert done.returncode == 0, done.stderr[-2000:]
    else:
        assert words[0] == "moa"
        if words[1] == "watch":
            # The runs of the page's studies.
            request.getfixturevalue("finished")
        if STUDY not in command:
            run(words, folder)
            return
        place = request.getfixturevalue("finished")
        given = [place if word == STUDY else word for word in words[1:]]
        if given[0] == "demo":
            # It serves until it is ended: its own tests ask it.
            parser = Parser(prog="moa")
            demo.add(parser.add_subparsers())
            assert choices(parser.parse_args(["demo", str(folder / place), *given[2:]]).results)
            return
        if given[0] == "report":
            pytest.importorskip("plotly", reason="the extra `report` is not installed")
        done = forked.run("lightning_moa.cli", given, folder=folder)
        assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("command", LARGE)
def test_large_command(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "export":
        assert re.fullmatch(r"HF_\w+=\S+", words[1])
        return
    if words[0] == "hf":
        assert words[1] == "download"
        configured = "".join(
            path.read_text() for path in (ROOT / "experiments").glob("*/config/*/paper.yaml")
        )
        assert words[2] in SCALING.replace(command, ""), "what is downloaded has its row in the table"
        assert words[words.index("--revision") + 1] in configured
        return
    if words[:2] == ["python", "-m"]:
        told = forked.run(words[2], [*words[3:], "--help"], folder=ROOT).stdout
        assert all(word in told for word in words if word.startswith("--"))
        return
    assert words[0] in ("sbatch", "torchrun", "python", "moa")
    (place,) = [i for i, word in enumerate(words) if word.startswith("experiments/")]
    assert words[0] != "sbatch" or words[place - 1] == "launch/slurm.sh"
    assert (ROOT / "launch" / "slurm.sh").is_file()
    path = ROOT / words[place]
    study = study_of(path)
    assert study.methods
    study.read(words[place + 1 :])


def test_the_page_on_scaling_names_what_configurations_load() -> None:
    """Every model and data set of a file for GPUs has its row, with the revision that is loaded."""
    for path in (ROOT / "experiments").glob("*/config/*/*.yaml"):
        if path.stem not in ("gpu", "paper"):
            continue
        for key, value in re.findall(r"\b(path|revision): ([^\s,}]+)", path.read_text()):
            assert (value if key == "path" else value[:7]) in SCALING, f"{path}: {value}"
    for entry in MODELS:
        if entry.id in SCALING:
            row = next(line for line in SCALING.splitlines() if line.startswith(f"| `{entry.id}`"))
            assert entry.licence in row
            assert (entry.revision or "not pinned")[:7] in row


def test_python_examples(folder: Path, finished: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its methods make a study, its training trains, its points have the numbers that stand beside them, its policy
    answers, and stock peft loads what `moa export` writes."""
    monkeypatch.chdir(folder)
    (exporting,) = [each for each in COMMANDS if each.startswith("moa export")]
    if not (folder / "exported").is_dir():
        words = [finished if word == STUDY else word for word in shlex.split(exporting)[1:]]
        assert forked.run("lightning_moa.cli", words, folder=folder).returncode == 0
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(example.replace(STUDY, str(folder / finished)), names)
    (response,) = names["policy"].generate(["explain boats"], {"helpful": 0.3, "harmless": 0.7})  # type: ignore[attr-defined]
    assert response
    ids, opened = torch.arange(3, 15).reshape(2, 6), names["policy"].open({"helpful": 0.3, "harmless": 0.7})  # type: ignore[attr-defined]
    with torch.no_grad():
        ours = opened.policy(ids, torch.ones_like(ids), opened.preference.float())
        torch.testing.assert_close(names["stock"](ids).logits, ours, rtol=0, atol=1e-5)  # type: ignore[operator]
    methods: dict[str, Product] = names["METHODS"]  # type: ignore[assignment]
    assert methods
    figure = study_of(ROOT / "experiments" / "panacea" / "figure5.py")
    config, _ = replace(figure, methods=methods).read(["scale=smoke", "exact_beta=0.5"])
    plan = plan_study(config, methods)
    assert all(set(seed.policies) == set(methods) for seed in plan.seeds.values())
    assert (folder / "my_policy" / "policy.safetensors").is_file()
    assert {"val/loss/helpful", "val/accuracy/concise"} <= set(names["trainer"].callback_metrics)  # type: ignore[attr-defined]
    points = names["points"]
    assert names["hypervolume"](points, reference_point=[0.0, 0.0]) == pytest.approx(0.48)  # type: ignore[operator]
    assert list(names["is_non_dominated"](points)) == [True, True, False]  # type: ignore[operator]
    assert names["preference_grid"](m=2, step=0.5).tolist() == [[0, 1], [0.5, 0.5], [1, 0]]  # type: ignore[operator]


def test_its_verdicts_are_those_of_the_committed_results() -> None:
    """If not, `python -m lightning_moa.reporting.readme` writes them."""
    assert with_verdicts(TEXT, standings(ROOT)) == TEXT


def test_verdicts_are_written_into_the_row_of_their_command() -> None:
    claims = Claims(Counter(holds=3, fails=1), Counter(holds=2, fails=1))
    none = Claims(Counter(), Counter())
    artefacts = {each.name: each for each in ARTEFACTS if each.paper == "gapo"}
    found = [
        Standing(artefacts["figure_scale"], True, {"tiny": {"paper": claims, "ours": none}}, {}),
        Standing(artefacts["figure_scale_objective"], True, {"tiny": {"paper": none, "ours": claims}}, {}),
        Standing(artefacts["figure_probe"], True, {}, {}),
    ]
    page = "| x | `python experiments/gapo/{}` | 1 s | old ||\nelse\n"
    for command, cells in {
        "figure_scale.py": "3 of 4 (2 with Holm), 1 fail | -",
        "figure_scale.py multiplies=objective": "- | 3 of 4 (2 with Holm), 1 fail",
        "figure_probe.py": "- | -",
        "other.py": "- | -",
    }.items():
        expected = f"| x | `python experiments/gapo/{command}` | 1 s | {cells} |\nelse\n"
        assert with_verdicts(page.format(command), found) == expected
    assert with_verdicts("`python experiments/gapo/other.py`", found) == "`python experiments/gapo/other.py`"


def test_files_that_it_names_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"`((?:launch|experiments)/[\w./]+)`", SCALING):
        assert (ROOT / target).exists(), target


def test_the_aggregation_of_ones_own_in_the_page_on_gapo() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "gapo.md").read_text(), re.S)
    names: dict[str, object] = {}
    exec(example, names)
    weights = names["Equal"]().solve(np.diag([4.0, 0.25]), np.array([0.5, 0.5]))  # type: ignore[operator]
    np.testing.assert_allclose(weights, [0.5, 2.0])


@pytest.mark.parametrize("paper", ["gapo", "ham"])
def test_files_that_the_pages_on_papers_name_are_there(paper: str) -> None:
    text = (ROOT / "docs" / f"{paper}.md").read_text()
    scripts = re.findall(r"`(\w+\.py)`", text)
    assert scripts
    assert all((ROOT / "experiments" / paper / name).is_file() for name in scripts)
