"""The share of HaM's learning rate that its warm-up takes."""

import pytest

from lightning_moa.answers import use
from lightning_moa.deployments import EachHead, TrainedOn
from lightning_moa.figures.panels import PanelsConfig, methods_of
from lightning_moa.figures.scalarised import scalarised_share
from lightning_moa.methods.products import Product, ham
from lightning_moa.study.chosen import schema_of


def share(product=None, **settings):
    made = schema_of(methods_of(2), PanelsConfig)()
    made.likelihood.warmup_ratio, made.likelihood.steps, made.likelihood.schedule = 0.0, 4, "linear"
    for place, value in settings.items():
        section, key = place.split("__")
        setattr(getattr(made, section), key, value)
    return scalarised_share(made, "ham", product or ham())


def test_no_warm_up_is_nothing_and_nothing_else_is_all():
    assert share() == 0
    assert share(heads__warm_up=4) == 1
    assert share(heads__warm_up=9) == 1


def test_rates_count_and_not_updates():
    # Of four updates at a falling rate: 1, .75, .5, .25.
    assert share(heads__warm_up=2) == pytest.approx(1.75 / 2.5)
    assert share(heads__warm_up=2, likelihood__schedule="constant") == pytest.approx(0.5)
    # A rise over the first half: 0, .5, 1, .5.
    assert share(heads__warm_up=2, likelihood__warmup_ratio=0.5) == pytest.approx(0.5 / 2)


def test_online_rounds_are_not_scalarised():
    rounds = {"online__rounds": 2, "online__steps": 5, "online__lr": 0.1, "likelihood__lr": 0.5}
    assert share(heads__warm_up=2, **rounds) == pytest.approx(0.5 * 1.75 / (0.5 * 2.5 + 2 * 5 * 0.1))


def test_epochs_stand_for_updates_and_a_method_has_settings_of_its_own():
    epochs = {"likelihood__steps": None, "likelihood__epochs": 2.0, "likelihood__rows": 64}
    assert share(heads__warm_up=2, likelihood__batch_size=32, **epochs) == pytest.approx(1.75 / 2.5)
    own = Product(
        "ham", use("heads", warm_up=1), "likelihood", "hypervolume", TrainedOn.sampled(), EachHead()
    )
    assert share(own, heads__warm_up=4) == pytest.approx(1 / 2.5)
