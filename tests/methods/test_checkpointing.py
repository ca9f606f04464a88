"""A `Trainer` of one's own goes on from a checkpoint to the bytes of an undisturbed training, for every method."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lightning_moa.errors import UserError
from lightning_moa.methods.checkpointing import KEY
from lightning_moa.methods.names import METHODS as NAMES
from lightning_moa.runs.align import assembled
from tests import forked
from tests.conftest import REPOSITORY
from tests.methods.resumed import (
    METHODS,
    ONLINE,
    WATCHED,
    Count,
    SaveAt,
    content,
    differing,
    places,
    plain_trainer,
    prepared,
    trained,
)
from tests.study.starts import by_torchrun

OWN = REPOSITORY / "examples" / "own"
CASES = [*METHODS, *(f"{name}_online" for name in ONLINE)]


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(OWN))
        yield prepared(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(ready):
    """What an undisturbed training leaves, and how many batches it has."""

    @cache
    def of(name: str):
        count = Count()
        return content(trained(ready, name, count)), len(count.trained)

    return of


def test_every_module_is_among_them():
    assert {product.method.name for product in METHODS.values()} == set(NAMES)


@pytest.mark.parametrize("name", CASES)
def test_a_training_goes_on_from_a_checkpoint_as_if_nothing_had_been(ready, whole, tmp_path, name):
    expected, batches = whole(name)
    behind, within = places(name, batches)
    trained(ready, name, SaveAt([behind, within], tmp_path))
    for place in (behind, within):
        again = Count()
        resumed = trained(ready, name, again, ckpt_path=tmp_path / f"{place}.ckpt")
        assert again.trained == list(range(place + 1, batches))
        assert differing(expected, content(resumed)) == [], place


def test_so_does_one_on_two_processes(ready, tmp_path):
    """One start for all methods: each would import the libraries anew."""
    given = {
        name: (spec, {role: str(path) for role, path in inputs.items()})
        for name, (spec, inputs) in ready.items()
    }
    (tmp_path / "ready.json").write_text(json.dumps(given))
    shown = tmp_path / "shown"
    pair = [
        forked.start(
            "tests.methods.resumed",
            [str(tmp_path)],
            out=shown,
            folder=OWN,
            environment=environment,
        )
        for environment in by_torchrun(2)
    ]
    for process in pair:
        process.join(forked.TIMEOUT)
    assert [process.exitcode for process in pair] == [0, 0], shown.read_text()[-3000:]
    for rank in (0, 1):
        found = json.loads((tmp_path / f"differing.{rank}.json").read_text())
        assert found == {name: {"differing": [], "went on": True} for name in [*CASES, WATCHED]}


def test_what_a_checkpoint_leaves_out_would_show(ready, whole, tmp_path):
    """The test can fail: without the critic, the counter or the waiting batch the end is another one."""
    for name, lost in (("panacea_ppo", "objective"), ("ham", "aggregator"), ("panacea_dpo", "held")):
        trained(ready, name, SaveAt([2], tmp_path))
        path = tmp_path / "2.ckpt"
        saved = torch.load(path, weights_only=True)
        fresh = torch.load(first_checkpoint(ready, name, tmp_path), weights_only=True)
        if lost == "held":
            saved[KEY]["processes"][0]["held"] = []
        else:
            saved[KEY][lost] = fresh[KEY][lost]
        torch.save(saved, path)
        assert differing(whole(name)[0], content(trained(ready, name, ckpt_path=path))) != []


def test_a_learning_rate_that_is_not_used_is_told(ready, tmp_path, capsys):
    """A checkpoint brings its own, as Lightning has it."""
    trained(ready, "panacea_dpo", SaveAt([1], tmp_path))
    trained(ready, "panacea_dpo", ckpt_path=tmp_path / "1.ckpt")
    assert "learning rate" not in capsys.readouterr().err
    method, source = assembled(*ready["panacea_dpo"])[1:3]
    method.make_optimiser = partial(torch.optim.AdamW, lr=0.5)
    plain_trainer().fit(method, datamodule=source, ckpt_path=tmp_path / "1.ckpt", weights_only=True)
    said = capsys.readouterr().err
    assert "warning: the checkpoint's learning rate goes on, [" in said
    assert "what was given is not used, [0.5" in said


def test_another_optimiser_is_told_in_a_line(ready, tmp_path):
    trained(ready, "panacea_dpo", SaveAt([1], tmp_path))
    method, source = assembled(*ready["panacea_dpo"])[1:3]
    method.make_optimiser = partial(torch.optim.SGD, lr=0.5)
    with pytest.raises(UserError, match="of another optimiser than SGD: it has no dampening, momentum"):
        plain_trainer().fit(method, datamodule=source, ckpt_path=tmp_path / "1.ckpt", weights_only=True)


def test_a_subclass_with_optimisers_of_its_own_goes_on(ready, tmp_path):
    for path in (None, tmp_path / "1.ckpt"):
        method, source = assembled(*ready["panacea_dpo"])[1:3]
        method.configure_optimizers = lambda method=method: torch.optim.SGD(method.parameters(), lr=0.25)
        trainer = plain_trainer(SaveAt([1], tmp_path))
        trainer.fit(method, datamodule=source, ckpt_path=path, weights_only=True)
        assert trainer.optimizers[0].param_groups[0]["lr"] == 0.25


def first_checkpoint(ready, name: str, folder: Path) -> Path:
    """One of a training that has not begun."""

    class AtStart(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            trainer.save_checkpoint(folder / "start.ckpt")
            trainer.should_stop = True

    trained(ready, name, AtStart())
    return folder / "start.ckpt"


def test_a_checkpoint_holds_what_is_trained_and_not_the_base(ready, tmp_path):
    method = trained(ready, "panacea_ppo", SaveAt([3], tmp_path))
    saved = torch.load(tmp_path / "3.ckpt", weights_only=True)
    names = {name for name, value in method.named_parameters() if value.requires_grad}
    assert set(saved["state_dict"]) == names
    assert all(name.startswith("critic.") for name in saved[KEY]["objective"])
    assert len(saved[KEY]["objective"]) > 0


def test_load_from_checkpoint_gives_the_trained_policy(ready, tmp_path):
    method = trained(ready, "panacea_dpo", SaveAt([9], tmp_path))
    run, other, *_ = assembled(*ready["panacea_dpo"])
    loaded = type(method).load_from_checkpoint(
        tmp_path / "9.ckpt",
        weights_only=True,
        policy=run.policy,
        objective=other.objective,
        aggregator=other.aggregator,
        optimiser=other.make_optimiser,
        m=2,
        seed=0,
    )
    assert differing(method.policy.trained_state(), loaded.policy.trained_state()) == []


def test_one_that_was_loaded_and_is_trained_anew_begins_at_its_beginning(ready, whole, tmp_path):
    trained(ready, "panacea_ppo", SaveAt([3], tmp_path))
    anew, source = assembled(*ready["panacea_ppo"])[1:3]
    start = {name: value.clone() for name, value in anew.policy.trained_state().items()}
    critic = {name: value.clone() for name, value in anew.objective.state_dict().items()}
    anew.on_load_checkpoint(torch.load(tmp_path / "3.ckpt", weights_only=True))
    anew.policy.load_trained_state(start)
    anew.objective.load_state_dict(critic)
    plain_trainer().fit(anew.train(), datamodule=source)
    assert differing(whole("panacea_ppo")[0], content(anew)) == [], (
        "as from the start: nothing of the checkpoint is left"
    )


def test_another_modules_checkpoint_is_refused_by_name(ready):
    method = assembled(*ready["ham"]).method
    with pytest.raises(UserError, match="holds no 'alignment': it is not one of HaM's"):
        method.on_load_checkpoint({"state_dict": {}})
