"""Results of another configuration are not written over without a word."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lightning_moa.config import MethodConfig
from lightning_moa.digests import digest
from lightning_moa.errors import UserError
from lightning_moa.policies.packaged import content_of
from lightning_moa.reporting.claims import claims_frame
from lightning_moa.reporting.run_record import plain, write_run_record
from lightning_moa.study.artefacts import study_of
from lightning_moa.study.kept import _other_content, recorded
from lightning_moa.study.planning import plan_study
from lightning_moa.study.results import Artefact, Judged

FIGURE5_FILE = Path(__file__).resolve().parents[2] / "experiments" / "panacea" / "figure5.py"
FIGURE5 = study_of(FIGURE5_FILE)


def configuration(root: Path, *words: str):
    return FIGURE5.read(["scale=smoke", f"results_dir={root}", *words])[0]


def begin(root: Path, *words: str) -> Artefact:
    return Artefact.begin("panacea", "figure5", configuration(root, *words))


@pytest.fixture
def kept(tmp_path):
    """A folder of results, and the record in it."""
    artefact = begin(tmp_path, "seeds=[0,1]")
    config = recorded(artefact.config)
    write_run_record(
        artefact.folder / "run.yaml", config, measured_with={}, started=artefact.started, duration=1.0
    )
    return tmp_path, artefact.folder / "run.yaml"


def change(path: Path, edit) -> None:
    record = yaml.safe_load(path.read_text())
    edit(record)
    path.write_text(yaml.safe_dump(record))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dpo.beta=2.0"], r"dpo.beta was [\d.]+, now 2.0"),
        (["seeds=[0]"], r"seeds was \[0, 1\], now \[0\]"),
        (["methods.dps.lr=0.5"], "methods.dps was empty, now .*"),
        (["data.pairs=7"], r"data.pairs was \d+, now 7"),
        (["hardware.precision=bf16"], "hardware.precision was fp32, now bf16"),
        (
            ["dpo.beta=2.0", "dpo.steps=7", "sft.steps=7", "reward_model.steps=7"],
            r"sft.steps was \d+, now 7, reward_model.steps was \d+, now 7, dpo.* and 1 more",
        ),
    ],
)
def test_another_configuration_is_refused_and_names_what_differs(kept, words, said):
    root, path = kept
    words = words if words[0].startswith("seeds") else ["seeds=[0,1]", *words]
    expected = (
        rf"^{path.parent}: holds results of another configuration \({said}\); replace=true writes over them, another "
        "results_dir keeps them$"
    )
    with pytest.raises(UserError, match=expected):
        begin(root, *words)
    assert begin(root, *words, "replace=true").folder == path.parent


@pytest.mark.parametrize(
    "words",
    [
        ["seeds=[1,0]"],
        ["seeds=[0,1]", "workers=7", "runs_dir=elsewhere", "fresh=true", "code_in_key=false"],
        ["seeds=[0,1]", "hardware.devices=2", "hardware.strategy=ddp", "hardware.checkpoint_every=5"],
    ],
)
def test_the_same_configuration_is_made_again(kept, words, capsys):
    begin(kept[0], *words)
    assert capsys.readouterr().err == ""


def test_what_is_left_to_the_study_is_what_it_was(tmp_path):
    """A plan writes into its configuration what `auto` stands for, and that is recorded."""
    study = study_of(FIGURE5_FILE.with_name("figure4.py"))

    def read(*words):
        return study.read(["scale=smoke", f"results_dir={tmp_path}", *words])

    config, methods = read("ppo.reward=auto")
    artefact = Artefact.begin("panacea", "figure4", config)
    plan_study(config, methods)
    assert config.ppo.reward != "auto"
    path = artefact.folder / "run.yaml"
    write_run_record(path, recorded(config), measured_with={}, started=artefact.started, duration=1.0)
    Artefact.begin("panacea", "figure4", read("ppo.reward=auto")[0])
    with pytest.raises(UserError, match=r"\(ppo.reward was gold, now trained\)"):
        Artefact.begin("panacea", "figure4", read("ppo.reward=trained")[0])


def test_another_file_under_the_same_path_is_another_configuration(tmp_path):
    path, words = tmp_path / "pairs.jsonl", ["data=pairs", f"data.path={tmp_path}/pairs.jsonl"]
    path.write_text("first")
    artefact = begin(tmp_path, *words)
    told = {"data": {"content": digest(str(path))[:16]}, "base": {"content": None}}
    record = artefact.folder / "run.yaml"
    config = recorded(artefact.config)
    write_run_record(record, config, measured_with=told, started=artefact.started, duration=1.0)
    begin(tmp_path, *words)
    path.write_text("second")
    with pytest.raises(
        UserError, match=r"\(the content of data\.path was \w{16}, now \w{16}\); replace=true"
    ):
        begin(tmp_path, *words)
    begin(tmp_path, *words, "replace=true")


def test_keys_that_the_code_has_won_or_lost_meanwhile_tell_nothing(kept):
    root, path = kept

    def edit(record):
        del record["config"]["probe"]
        record["config"]["dpo"] |= {"gone": 3}
        record["config"]["gone"] = {"lr": 1.0}

    change(path, edit)
    begin(root, "seeds=[0,1]")


def test_older_records_are_written_over_with_a_warning(kept, capsys):
    root, path = kept

    def edit(record):
        del record["format"]
        record["config"]["hardware"]["precision"] = "32-true"

    change(path, edit)
    begin(root, "seeds=[0,1]")
    assert capsys.readouterr().err == (
        f"warning: {path.parent}: older results, of settings that were said otherwise, are written over\n"
    )


def test_what_is_recorded_is_what_is_compared(tmp_path):
    """Every kind of value in a configuration comes back from YAML as it went."""
    config = configuration(tmp_path, "methods.dps.settings.adapter.rank=4", "dpo.lr=1e-5")
    there = yaml.safe_load(yaml.safe_dump(plain(recorded(config))))
    assert there == plain(recorded(config))
    assert there == recorded(replace(config, results_dir="other", workers=3, replace=True))


def test_a_results_folder_that_is_a_file_or_read_only_is_found_before_any_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        UserError, match=r"file/panacea/figure5/smoke: cannot be written, for .*file is a file"
    ):
        begin(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=r"figure5/smoke: cannot be written, for .* is read-only"):
        begin(tmp_path / "results")


def test_a_configuration_that_is_changed_on_the_way_is_not_recorded(tmp_path):
    """Started again, the script would take the results for another one's."""
    artefact = begin(tmp_path)
    artefact.config.methods["dps"] = MethodConfig(lr=0.5)
    with pytest.raises(UserError, match=r"changed after Artefact\.begin \(methods\.dps was"):
        artefact.write_computed(Judged(claims_frame([])), {}, "nothing")
    assert not (artefact.folder / "run.yaml").exists()


def test_a_packaged_model_is_known_by_its_own_hash(tmp_path):
    """It is no file below its name."""
    content = content_of("smollm2")
    config = replace(configuration(tmp_path), model=replace(configuration(tmp_path).model, path="smollm2"))
    record = {"config": {"model": {"path": "smollm2"}}, "base": {"content": content[:12]}}
    assert list(_other_content(config, record)) == []
    record["base"]["content"] = "0123456789ab"
    assert list(_other_content(config, record)) == [
        f"the content of model.path was 0123456789ab, now {content[:12]}"
    ]
