"""Every shipped configuration is parsed and planned; Panacea's own set-up is held to the paper's Table 2."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from lightning_moa.config import SYNTHETIC, HardwareConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.strategies.choices import check_hardware, processes_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.study import Study
from tests.declared import EXPERIMENTS, SCRIPTS, read, study_of

FILES = sorted(EXPERIMENTS.glob("*/config/*/*.yaml"))


def readers(folder: Path) -> list[Study]:
    """The studies that read a folder of configurations."""
    studies = [study_of(path) for path in SCRIPTS if path.parent == folder.parents[1]]
    return [study for study in studies if study.folder == folder]


def scale_of(path: Path) -> list[str]:
    """A file's words on a command line; for text, with a column for each of the figure's objectives."""
    scale, _, text = path.stem.partition(".")
    if not text:
        return [f"scale={scale}"]
    labels = yaml.safe_load(path.with_name("paper.yaml").read_text()).get("data", {}).get("labels", {})
    own = [f"data.labels.{name}=better_response_id" for name in labels]
    return [f"scale={scale}", "data=pku_saferlhf", *own]


def name_of(path: Path) -> str:
    return str(path.relative_to(EXPERIMENTS))


REFUSED = {
    "panacea/figure_dimensions.py": "3 or more are needed",
    "panacea/figure_tchebycheff.py": "has no world",
    "panacea/figure_worlds.py": "is no world",
    "panacea/misalignment.py": "its best policies are not known",
}
"""What some scripts say where their files are of text."""
WITH_OBJECTIVES = {"ham/figure_warm_up.py": "each panel has its own"}
"""The same where a file has objectives of its own."""


def refusal(name, config):
    """What a script says of such a configuration; None where it conducts it."""
    if config.data.name == SYNTHETIC:
        return None
    return REFUSED.get(name) or (WITH_OBJECTIVES.get(name) if config.objectives else None)


def studies_of(name, study, config, methods):
    """What a script conducts; where it doesn't conduct such data, all its methods in one study."""
    if refusal(name, config) is not None:
        with pytest.raises(UserError, match=refusal(name, config)):
            study.parts_of(config, methods)
        return [(config, methods)]
    return [(settings, own) for _, settings, own in study.parts_of(config, methods)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_is_read_by_a_script_and_parses(path):
    studies = readers(path.parent)
    assert studies
    for study in studies:
        config, _ = read(study.file, scale_of(path))
        assert config.scale == path.stem.partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_section_of_a_file_is_some_scripts(path):
    """Sections of other studies are passed over, so that a wrong one would be noticed by nobody."""
    known = {item.name for study in readers(path.parent) for item in fields(study.schema)}
    assert set(yaml.safe_load(path.read_text())) <= known


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_every_script_plans_all_its_scales(path, tmp_path):
    """So that a method's name in a file is a method of the figure, and every setting makes a run."""
    study = study_of(path)
    scales = [file for file in study.folder.glob("*.yaml")]
    assert scales
    for file in scales:
        config, methods = read(path, scale_of(file))
        if hasattr(config, "ppo") and config.ppo.ptx:
            config.ppo.ptx_path = str(tmp_path / "given.jsonl")
            Path(config.ppo.ptx_path).touch()
        for settings, own in studies_of(name_of(path), study, config, methods):
            plan = plan_study(settings, own or {"panacea": PANACEA_PPO})
            assert set(plan.seeds) == set(settings.seeds)
            keys = [task.key for task in plan.targets()]
            # Methods that the script itself would tell apart may be one where it refuses the data.
            refused = refusal(name_of(path), config) is not None
            assert refused or len(keys) == len(set(keys))


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in ("gpu", "paper")], ids=name_of)
def test_a_file_for_gpus_says_all_of_its_hardware_and_pins_what_it_loads(path):
    written = yaml.safe_load(path.read_text())
    assert set(written["hardware"]) == {item.name for item in fields(HardwareConfig)}
    assert written["workers"] == 1, "one run at a time has the GPUs"
    assert written["hardware"]["precision"] == ("int8" if "ham" in path.parts else "bf16")
    studies = readers(path.parent)
    assert studies
    for study in studies:
        config, _ = read(study.file, scale_of(path))
        assert check_hardware(asdict(config.hardware)) == [], "nothing pointless either"
        sections = [getattr(config, name) for name in ("dpo", "ppo", "likelihood") if hasattr(config, name)]
        for section in sections:
            assert section.batch_size % (section.accumulate * processes_of(asdict(config.hardware))) == 0
    assert re.fullmatch("[0-9a-f]{40}", written["data"]["revision"])
    for model in [written[key] for key in ("model", "large") if key in written]:
        assert re.fullmatch("[0-9a-f]{40}|refs/pr/[0-9]+", model["revision"])


def test_panaceas_paper_scale_is_the_papers_table_2():
    config, _ = read(EXPERIMENTS / "panacea" / "figure5.py", ["scale=paper"])
    assert config.seeds == [42]
    assert config.dpo.beta == 0.1
    assert config.dpo.lr == 2e-4
    assert config.dpo.weight_decay == 0.05
    assert config.dpo.schedule == "cosine"
    assert config.dpo.warmup_ratio == 0.03
    assert config.dpo.epochs == 1
    assert config.dpo.steps is None
    assert config.dpo.batch_size == 8 * 16
    assert config.dpo.accumulate == 1
    assert config.dpo.likelihood == 0
    assert config.adapter.rank == 8
    assert config.adapter.scaling == 512 / 8
    assert config.data.max_length == 512
    assert config.data.name == "pku_saferlhf"
    assert config.model.gradient_checkpointing is True
    assert config.hardware.precision == "bf16"
    assert config.hardware.tf32 is True
    assert config.hardware.devices == 8
    assert config.evaluation.grid_step == 0.1
    assert not config.methods, "all methods of the paper share one set of hyper-parameters"
