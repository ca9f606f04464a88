"""Studies of which a training diverges: the others are kept, and nobody trains that one again."""

from __future__ import annotations

import io
import signal

import numpy as np
import pytest
from rich.console import Console

from lightning_moa.config import MethodConfig
from lightning_moa.figures.all_methods import METHODS
from lightning_moa.study import diverging
from lightning_moa.study.artefacts import study_of
from lightning_moa.study.conduct import conduct
from lightning_moa.study.diverging import conduct_what_converges
from lightning_moa.study.execute import RunsFailed
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "experiments" / "cross" / "table_methods.py"
QUICK = (
    *(
        "scale=smoke",
        "seeds=[0]",
        "sft.steps=2",
        "reward_model.steps=2",
        "data.pairs=32",
        "data.eval_pairs=16",
    ),
    *("rloo.steps=4", "rloo.batch_size=4", "rloo.max_new_tokens=4"),
    *("evaluation.grid_step=1", "evaluation.prompts=4", "evaluation.pairs=4", "evaluation.max_new_tokens=4"),
)
# Any KL at all is too much for it, and at the first update there is none.
METHODS_OF = {"well": METHODS["panacea_rloo"], "far": METHODS["panacea_rloo"]}
FAR = MethodConfig(settings={"rloo": {"max_kl": 1e-12}})


def conducted(tmp_path, methods=METHODS_OF, **changed):
    config, _ = study_of(SCRIPT).read([*QUICK, f"runs_dir={tmp_path / 'runs'}"])
    config.methods = {name: FAR for name in methods if name.startswith("far")}
    for name, value in changed.items():
        setattr(config, name, value)
    shown = io.StringIO()
    return *conduct_what_converges(config, methods, Console(file=shown, width=300)), shown.getvalue()


def test_a_method_that_diverges_is_left_out_and_not_trained_again(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    collected, lost, shown = conducted(tmp_path)
    assert set(collected.points["method"]) == {"well", "sft"}
    assert list(lost) == ["far"]
    assert lost["far"].startswith("far, seed 0: step ")
    assert "failed: far" in shown
    assert signal.getsignal(signal.SIGTERM) is before
    again, known, said = conducted(tmp_path)
    assert again.points.equals(collected.points)
    assert known == lost
    assert "failed" not in said
    assert "finished before" in said


def test_a_fresh_study_tries_it_once_more_and_the_others_once(tmp_path):
    collected, lost, _ = conducted(tmp_path)
    again, known, shown = conducted(tmp_path, fresh=True)
    assert (again.points.equals(collected.points), known) == (True, lost)
    assert shown.count("failed: far") == 1
    assert shown.count("finished before") == 1


def test_what_diverges_in_its_last_update_is_measured_and_told(tmp_path, capsys):
    """No later update sees it; of the figure it is a row without a KL."""
    words = [*QUICK, "dpo.steps=1", "dpo.batch_size=4", "dpo.warmup_ratio=0", f"runs_dir={tmp_path / 'runs'}"]
    config, _ = study_of(SCRIPT).read(words)
    config.methods = {"lost": MethodConfig(lr=1e30)}
    methods = {"lost": METHODS["panacea_dpo"]}
    collected = conduct(config, methods, Console(file=io.StringIO(), width=300))
    assert not np.isfinite(collected.points.query("method == 'lost'")["kl"]).any()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "finite" in line]
    assert line.startswith("warning: lost, seed 0: its KL is no finite number")


def test_where_all_diverge_there_is_nothing_to_read(tmp_path):
    collected, lost, _ = conducted(tmp_path, {"far": METHODS_OF["far"]})
    assert collected is None
    assert set(lost) == {"far"}


def test_what_fails_for_another_reason_ends_the_study(tmp_path, monkeypatch):
    def failing(*given):
        raise RunsFailed("one: its process was killed")

    monkeypatch.setattr(diverging, "conduct", failing)
    with pytest.raises(RunsFailed, match="killed"):
        conducted(tmp_path)
