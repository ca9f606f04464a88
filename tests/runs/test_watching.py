"""`trainer.logger` and `trainer.callbacks` of a study: what they leave in a run, and what is refused."""

from __future__ import annotations

import io
import json
import re
from dataclasses import fields

import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.config import parse
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_LS_DPO
from lightning_moa.methods.sections import all_sections
from lightning_moa.runs import watching
from lightning_moa.runs.align import align, assembled
from lightning_moa.runs.watching import own_callbacks, own_loggers
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.execute import execute
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
