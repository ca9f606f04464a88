"""Methods compared in one call, in a script of one's own: what it does not write over, and how it ends."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest

import lightning_moa as moa
from lightning_moa.config import parse
from lightning_moa.errors import Stopped, UserError
from lightning_moa.reporting.run_record import write_run_record
from lightning_moa.study import compared
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.execute import RunsFailed
from lightning_moa.study.kept import recorded
from lightning_moa.study.results import Artefact

METHODS = {
    name: moa.Product("panacea", "svd_lora", "dpo", name, moa.TrainedOn.sampled(), moa.Steered())
    for name in ("linear", "tchebycheff")
}


@pytest.fixture(autouse=True)
def hook(monkeypatch):
    """What stands there before, and is put back."""
    told = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, traceback: told.append(error))
    return told


class Conducted(Exception):
    pass


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Leaves the record of a comparison with these settings and methods; what is started then is not conducted."""

    def conduct(*given):
        raise Conducted

    def leave(*words, **told):
        config = parse(schema_of(METHODS), ["seeds=[0]", "data=synthetic", *words], None, METHODS)
        config.results_dir = str(tmp_path)
        artefact = Artefact.begin("own", "compared", config)
        began = {"measured_with": {}, "started": artefact.started, "duration": 1.0}
        write_run_record(artefact.folder / "run.yaml", recorded(config), **began, **told)

    monkeypatch.setattr(compared, "conduct", conduct)
    return leave


def test_results_of_other_settings_are_not_written_over(tmp_path, kept):
    kept("dpo.beta=0.5")

    def again(**settings):
        moa.run_study(METHODS, seeds=[0], settings=settings, results_dir=tmp_path, runs_dir=tmp_path / "runs")

    with pytest.raises(UserError, match=r"another configuration \(dpo.beta was 0.5, now 2.0\); replace=true"):
        again(**{"dpo.beta": 2.0})
    for settings in ({"dpo.beta": 2.0, "replace": True}, {"dpo.beta": 0.5}):
        with pytest.raises(Conducted):
            again(**settings)


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (UserError("data.path=x: no such file"), "error: data.path=x: no such file\n", 2),
        (RunsFailed("gapo: step 7"), "error: gapo: step 7\n", 1),
        (Stopped("gapo: stopped after update 7", signal.SIGTERM), "gapo: stopped after update 7\n", 143),
    ],
)
def test_what_nobody_catches_ends_its_script_in_a_line(error, said, code, hook, capsys, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="at least two"):
        moa.run_study({})
    with pytest.raises(SystemExit) as caught:
        sys.excepthook(type(error), error, None)
    assert (caught.value.code, capsys.readouterr().err, hook) == (code, said, [])
    fault = KeyError("of the code")
    sys.excepthook(KeyError, fault, None)
    assert hook == [fault]


def test_results_of_other_methods_are_not_written_over(tmp_path, kept):
    kept(policies=[{"method": name} for name in METHODS])
    others = {"linear": METHODS["linear"], "another": METHODS["tchebycheff"]}

    def start(methods, **settings):
        # Numbers of NumPy's are numbers.
        seeds = np.arange(1)
        moa.run_study(
            methods, seeds=seeds, settings=settings, results_dir=tmp_path, runs_dir=tmp_path / "runs"
        )

    with pytest.raises(
        UserError, match=r"compared/own: holds a comparison of linear, tchebycheff; another name"
    ):
        start(others)
    for methods, settings in (
        (others, {"replace": True}),
        (METHODS, {"dpo.beta": np.float64(0.5), "replace": True}),
    ):
        with pytest.raises(Conducted):
            start(methods, **settings)
    with pytest.raises(UserError, match=r"run_study: dpo\.beta=.* can't be written as JSON"):
        start(METHODS, **{"dpo.beta": {1, 2}})
