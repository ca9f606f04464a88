"""Methods that are trained alike, but for what is said of one alone."""

from __future__ import annotations

import pytest

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.alike import alike
from lightning_moa.study.chosen import Chosen
from tests.experiments.scripts import REPOSITORY, load

PANACEA = REPOSITORY / "experiments" / "panacea"


def test_what_is_said_of_the_first_holds_key_by_key():
    first = MethodConfig(steps=9, lr=0.1, settings={"adapter": {"scaling": 128.0, "rank": 2}}, watch=3)
    own = MethodConfig(lr=0.2, settings={"adapter": {"rank": 4}, "dpo": {"beta": 1.0}})
    config = StudyConfig(methods={"first": first, "own": own})
    found = alike(config, "first", ["own", "none"]).methods
    settings = {"adapter": {"scaling": 128.0, "rank": 4}, "dpo": {"beta": 1.0}}
    assert found == {
        "first": first,
        "own": MethodConfig(steps=9, lr=0.2, settings=settings, watch=3),
        "none": first,
    }
    assert config.methods == {"first": first, "own": own}


def settings_of(name, *words):
    """Of each method that is asked for, its values as a training gets them."""
    study = load(PANACEA / f"{name}.py").STUDY
    ((_, config, methods),) = study.parts_of(*study.read(["scale=tiny", *words]))
    return {each: Chosen.of(config, each, product).values for each, product in methods.items()}


def test_fixed_scales_are_multiplied_as_the_learned_one_whatever_is_asked_for():
    words = ["methods=[learned,fixed_1]", "methods.fixed_1.settings.adapter.dropout=0.1"]
    found = settings_of("figure7", *words)
    assert {name: each["adapter"].scaling for name, each in found.items()} == {"learned": 128, "fixed_1": 128}
    assert (found["fixed_1"]["adapter"].fixed_scale, found["fixed_1"]["adapter"].dropout) == (1.0, 0.1)


def test_what_is_no_section_is_named():
    with pytest.raises(UserError, match=r"methods\.fixed_1\.settings\.adapter: allowed are keys of"):
        settings_of("figure7", "methods.fixed_1.settings.adapter=3")


def test_variants_of_panacea_have_its_settings():
    found = settings_of("figure_adapter", "methods.panacea_ls.settings.dpo.beta=0.7")
    assert {found[name]["dpo"].beta for name in ("s_per_objective", "orthogonal_1e-2")} == {0.7}
    assert found["orthogonal_1e-2"]["adapter"].orthogonality == 0.01
    assert found["rank_4"]["dpo"].beta != 0.7
