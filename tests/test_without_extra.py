"""The core does without the extra `gpu`: it runs where DeepSpeed and bitsandbytes are not installed, and loads neither
unasked where they are."""

from __future__ import annotations

import re
import tomllib

import pytest

from lightning_moa.errors import UserError
from lightning_moa.strategies.choices import PRECISIONS, STRATEGIES, check_installed
from tests.hidden import REPOSITORY, marked, run, without

EXTRA = ("deepspeed", "bitsandbytes")
FIGURE4 = "experiments/panacea/figure4.py"
FIGURE6 = "experiments/panacea/figure6.py"
"""Of one policy."""


def folders(tmp_path):
    return [f"runs_dir={tmp_path / 'runs'}", f"results_dir={tmp_path / 'results'}"]


@pytest.fixture
def bare(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    return without(EXTRA, folder)


def test_the_extra_holds_both_and_the_core_neither():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(lines):
        return {re.split(r"[^\w-]", line)[0] for line in lines}

    assert names(extras["gpu"]) == set(EXTRA)
    assert "lightning_moa[gpu]" in extras["test"]
    assert not names(project["dependencies"]) & set(EXTRA)


def test_a_study_runs_where_they_are_not_installed(tmp_path, bare):
    code = (
        "import importlib.metadata, importlib.util, runpy, sys\n"
        f"for name in {EXTRA}:\n"
        "    assert importlib.util.find_spec(name) is None\n"
        "    try:\n        importlib.metadata.version(name)\n"
        "    except importlib.metadata.PackageNotFoundError:\n        continue\n"
        "    raise AssertionError(name)\n"
        f"sys.argv = [{FIGURE6!r}, 'scale=smoke', 'workers=1', *{folders(tmp_path)!r}]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally:\n    print('loaded:', [name for name in {EXTRA} if name in sys.modules])\n"
    )
    done = run(["-c", code], bare)
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stdout
    assert (tmp_path / "results/panacea/figure6/smoke/figure6.csv").is_file()


def test_a_study_loads_neither_where_they_are_installed(tmp_path):
    (tmp_path / "marked").mkdir()
    mark = tmp_path / "imported.txt"
    environment = marked(EXTRA, tmp_path / "marked", mark)
    # Of all that a plain study does, saving a model is what would load DeepSpeed: here the base and a reward model.
    words = [FIGURE6, "scale=smoke", "workers=2", "ppo.reward=trained", *folders(tmp_path)]
    done = run(words, environment)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs").glob("reward_model-*"))
    assert not mark.exists(), mark.read_text()
    # It would be seen.
    assert run(["-c", "import deepspeed"], environment).returncode == 1
    assert mark.read_text().split() == ["deepspeed"]


@pytest.mark.parametrize(
    ("setting", "package"),
    [
        ("hardware.strategy=deepspeed_3", "deepspeed"),
        ("hardware.precision=int8", "bitsandbytes"),
        ("hardware.optimiser=adamw_8bit", "bitsandbytes"),
    ],
)
def test_a_script_says_in_one_line_what_is_missing(tmp_path, bare, setting, package):
    done = run([FIGURE4, "scale=smoke", setting, *folders(tmp_path)], bare)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"error: {setting}: needs {package}, which is not installed; pip install lightning_moa[gpu] brings it"
    )
    assert not (tmp_path / "runs").exists(), "nothing was begun"


def test_planning_needs_neither_and_no_lightning_that_would_be_waited_for(tmp_path):
    words = ["-m", "lightning_moa.cli", "plan", FIGURE4, "scale=paper", "hardware.precision=nf4", "rows=100"]
    without(EXTRA, tmp_path)
    done = run(words, marked(("lightning",), tmp_path, tmp_path / "imported.txt"))
    assert done.returncode == 0, done.stderr


def test_a_library_call_says_it_too(bare):
    code = (
        "import torch\n"
        "from lightning_moa.strategies.quantisation import adamw, quantization_config\n"
        "from lightning_moa.strategies.trainer import trainer_options\n"
        "weights = [torch.nn.Parameter(torch.zeros(1))]\n"
        "hardware = {'accelerator': 'gpu', 'devices': 2, 'nodes': 1, 'precision': 'bf16'}\n"
        "for call in (\n"
        "    lambda: quantization_config('nf4'),\n"
        "    lambda: adamw('adamw_8bit', weights, lr=1.0, betas=(0.9, 0.99), weight_decay=0.0),\n"
        "    lambda: trainer_options({**hardware, 'strategy': 'deepspeed_2'}),\n"
        "    lambda: trainer_options({**hardware, 'strategy': 'ddp'}, whole=True),\n"
        "):\n"
        "    try:\n        call()\n"
        "    except ValueError as error:\n        print(type(error).__name__, error)\n"
        "trainer_options({**hardware, 'strategy': 'ddp'})\n"
    )
    done = run(["-c", code], bare)
    assert done.returncode == 0, done.stderr
    assert [line.partition(", which")[0] for line in done.stdout.splitlines()] == [
        "UserError precision=nf4: needs bitsandbytes",
        "UserError optimiser=adamw_8bit: needs bitsandbytes",
        "UserError strategy=deepspeed_2: needs deepspeed",
        "UserError strategy=deepspeed_3: needs deepspeed",
    ]


def test_what_is_trained_whole_on_a_gpu_needs_deepspeed(monkeypatch):
    monkeypatch.setattr("lightning_moa.strategies.choices.find_spec", lambda name: None)
    hardware = {"devices": 1, "nodes": 1, "strategy": None, "precision": "bf16", "optimiser": "adamw"}
    check_installed({**hardware, "accelerator": "gpu"})
    check_installed({**hardware, "accelerator": "cpu"}, whole=True)
    check_installed({**hardware, "accelerator": "gpu", "precision": "fp32"}, whole=True)
    with pytest.raises(
        UserError, match=r"^hardware\.precision=bf16 with a reward model .* needs deepspeed, "
    ):
        check_installed({**hardware, "accelerator": "gpu"}, whole=True)


def test_where_they_are_installed_everything_is_allowed():
    for strategy in STRATEGIES:
        for precision in PRECISIONS:
            check_installed(
                {
                    "accelerator": "gpu",
                    "devices": 2,
                    "nodes": 1,
                    "strategy": strategy,
                    "precision": precision,
                    "optimiser": "adamw_8bit",
                },
                whole=True,
            )


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_a_report_says_in_one_line_what_is_missing(tmp_path, package):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert [line for line in project["optional-dependencies"]["report"] if line.startswith(package)]
    assert not [line for line in project["dependencies"] if line.startswith(package)]
    (tmp_path / "bare").mkdir()
    words = ["-m", "lightning_moa.cli", "report", "results", "--to", str(tmp_path / "site")]
    done = run(words, without((package,), tmp_path / "bare"))
    assert (done.returncode, done.stdout) == (2, "")
    # Of packages that are both missing the first is named.
    needs = re.fullmatch(
        r"error: moa report: needs (\w+), which is not installed; pip install lightning_moa\[report\] brings it\n",
        done.stderr,
    )
    assert needs is not None, done.stderr
    assert needs.group(1) in ("plotly", package)
    assert not (tmp_path / "site").exists()
