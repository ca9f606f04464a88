"""`trainer.logger` and `trainer.callbacks` of a study: what they leave in a run, and what is refused."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, fields
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from lightning_moa.config import parse
from lightning_moa.data.configs import PairsConfig
from lightning_moa.digests import digest
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_LS_DPO
from lightning_moa.methods.sections import all_sections
from lightning_moa.run_folders import record
from lightning_moa.runs import watching
from lightning_moa.runs.align import align, assembled
from lightning_moa.runs.loading import load_data
from lightning_moa.runs.resuming import _restore_log
from lightning_moa.runs.watching import own_callbacks, own_loggers
from lightning_moa.study import execute as engine
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.execute import RunsFailed, execute
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY
from tests.methods.resumed import WORDS

METHODS = {"panacea": PANACEA_LS_DPO}
WATCH = "tests.callbacks.in_a_study:Watch"


def planned(*words: str):
    schema = schema_of(METHODS)
    known = {field.name for field in fields(schema)} - {"methods"}
    own = [word for word in WORDS if re.split(r"[.=]", word)[0] in known]
    folder = REPOSITORY / "experiments/panacea/config/dpo"
    config = parse(schema, [*own, *words], folder, METHODS, all_sections())
    (task,) = plan_study(config, METHODS).seeds[0].policies["panacea"]
    return task


def test_a_study_is_watched_by_callbacks_and_its_log_is_written_as_it_goes(tmp_path):
    task, plain = planned(f"trainer.callbacks=[{WATCH}]"), planned()
    assert task.key != plain.key
    assert "trainer" not in plain.spec, "the runs of a study that asks for nothing stay what they are"
    execute(list(task.needs.values()), tmp_path, workers=1, fresh=False, console=Console(file=io.StringIO()))
    inputs = {role: tmp_path / need.key for role, need in task.needs.items()}
    out = tmp_path / "out"
    out.mkdir()
    lines = []

    def progress(share: float) -> None:
        log = out / "log" / "metrics.csv"
        lines.append(len(log.read_text().splitlines()) if log.exists() else 0)

    align(json.loads(json.dumps(task.spec)), inputs, out, progress)
    assert len(set(lines)) > 2, "a reader sees it grow"
    front = pd.read_csv(out / "log" / "fronts.csv")
    assert front["step"].tolist() == [2] * 3 + [4] * 3
    log = pd.read_csv(out / "log" / "metrics.csv")
    assert {"loss/helpful", "grid/hypervolume", "grid/reward/harmless"} <= set(log.columns)

    run = assembled(task.spec, inputs).run
    (watch,) = own_callbacks(run)
    assert watch.data.tokenizer is run.tokenizer
    with own_loggers(run, out) as loggers:
        assert loggers == []
    for path, told in (
        ("collections:OrderedDict", "a Lightning Callback"),
        ("json:JSONDecodeError", "without arg"),
    ):
        run.spec["trainer"]["callbacks"] = [path]
        with pytest.raises(UserError, match=told):
            own_callbacks(run)


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb")])
def test_a_logger_is_made_or_its_package_asked_for(tmp_path, kind, package):
    class Run:
        spec = {"trainer": {"logger": kind}}  # noqa: RUF012

    try:
        __import__(package)
    except ImportError:
        with pytest.raises(UserError, match=f"trainer.logger={kind}"), own_loggers(Run, tmp_path):
            pass
    else:
        with own_loggers(Run, tmp_path) as (made,):
            assert package in type(made).__name__.lower()


def test_each_training_has_a_run_of_its_own(tmp_path, monkeypatch):
    """Of W&B's there is one at a time in a process: one that is not finished gets the next training's numbers, too."""
    open_runs = []

    class Fake:
        """As Weights & Biases has it."""

        def __init__(self, name, save_dir, *, project, offline):
            assert offline
            self.name, self.experiment = name, self
            open_runs.append(self)

        def finish(self):
            open_runs.remove(self)

    class Run:
        spec = {"trainer": {"logger": "wandb"}}  # noqa: RUF012

    monkeypatch.setattr(watching, "WandbLogger", Fake)
    for key in ("align-1", "align-2"):
        with own_loggers(Run, tmp_path / f".{key}.host-7") as (made,):
            assert made.name == key
            assert open_runs == [made]
    with pytest.raises(KeyboardInterrupt), own_loggers(Run, tmp_path / ".align-3.host-7"):
        raise KeyboardInterrupt
    assert open_runs == []


class EndsEarly(Callback):
    """Has enough after two updates."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        trainer.should_stop = module.batches_before(batch_idx) >= 3


def test_the_record_says_how_many_updates_were_made(tmp_path):
    task = planned("dpo.steps=4", f"trainer.callbacks=[{__name__}:EndsEarly]")
    execute([task], tmp_path, workers=1, fresh=False, console=Console(file=io.StringIO()))
    assert record(tmp_path, task.key)["steps"] == 2


def test_a_run_whose_record_cannot_be_written_keeps_its_snapshots(tmp_path, monkeypatch):
    words = ("dpo.steps=4", "methods.panacea.snapshots=[0.5]", "hardware.checkpoint_every=1")
    task = planned(*words)

    def start():
        execute([task], tmp_path, workers=1, fresh=False, console=Console(file=io.StringIO()))

    with monkeypatch.context() as full:
        full.setattr(engine, "_write_record", mock.Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises((OSError, RunsFailed), match="No space left"):
            start()
    start()
    left = {path.name for path in (tmp_path / task.key).iterdir()}
    assert left == {"log", "policy", "step-2", "task.json"}


def test_rows_are_read_anew_where_their_file_has_other_content(tmp_path):
    def rows(word):
        told = {"response_0": "one", "response_1": "two", "good": 1}
        path.write_text("".join(json.dumps({"prompt": f"{word} {i}", **told}) + "\n" for i in range(8)))
        return {**spec, "files": digest(str(path))}

    path = tmp_path / "pairs.jsonl"
    data = asdict(PairsConfig(path=str(path), labels={"good": "good"}))
    spec = {"data": data, "data_class": "", "objectives": ["good"]}
    first = load_data(rows("first"))
    assert load_data(rows("first")) is first
    assert load_data(rows("second")).table("train").prompts[0].startswith("second")


class KeepsArrays(Callback):
    """Its state is none that a checkpoint holds."""

    def state_dict(self):
        return {"seen": np.zeros(2)}


def test_a_state_that_no_checkpoint_holds_is_refused_before_there_is_anything_to_lose(tmp_path):
    task = planned("dpo.steps=4", f"trainer.callbacks=[{__name__}:KeepsArrays]")
    message = (
        r"KeepsArrays\.state_dict\(\)/seen: a ndarray cannot be kept in a checkpoint; allowed are tensors"
    )
    with pytest.raises(UserError, match=message):
        execute([task], tmp_path, workers=1, fresh=False, console=Console(file=io.StringIO()))


def test_other_loggers_get_what_was_logged_before_a_stop(tmp_path):
    told = []
    other = SimpleNamespace(log_metrics=lambda values, step: told.append((step, values)))
    csv_logger = SimpleNamespace(experiment=SimpleNamespace())
    trainer = SimpleNamespace(logger=csv_logger, loggers=[csv_logger, other])
    text = "epoch,loss,kl,step\n0,0.5,,0\n0,0.25,1.5,3\n"
    _restore_log(trainer, tmp_path / "log", text)
    assert told == [(0, {"epoch": 0.0, "loss": 0.5}), (3, {"epoch": 0.0, "loss": 0.25, "kl": 1.5})]
    assert (tmp_path / "log" / "metrics.csv").read_text() == text
