"""What a script declares: its methods and their settings, read from words; some of them; and one's own beside them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from lightning_moa.answers import use
from lightning_moa.config import StudyConfig
from lightning_moa.deployments import Soup, Steered, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import (
    DPS_PPO,
    GAPO_P1_PPO,
    PANACEA_LS_DPO,
    PANACEA_PPO,
    REWARDED_SOUPS_DPO,
    SAFE_RLHF_PPO,
    Product,
    ham,
)
from lightning_moa.methods.sections import all_sections
from lightning_moa.objectives.dpo import DPO
from lightning_moa.objectives.settings import DPOConfig
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies.settings import AdapterConfig
from lightning_moa.study.chosen import chosen_methods, schema_of, sections_of
from lightning_moa.study.study import DRAWS, PROMPT_SETS, Study

METHODS = {"ls": PANACEA_LS_DPO, "soups": REWARDED_SOUPS_DPO}
OWN = Product("panacea", use("svd_lora", fixed_scale=0.3), "ppo", "linear", TrainedOn.sampled(), Steered())

LS = SFT = OWN


@dataclass
class Longer(StudyConfig):
    """Options of a script's own."""

    longer: bool = option(False, "whether it is")


@pytest.fixture
def study(tmp_path):
    """A script's study, with what its file says of others' sections and methods."""
    folder = tmp_path / "config" / "dpo"
    folder.mkdir(parents=True)
    text = (
        "seeds: [5]\ndpo: {lr: 0.25}\nppo: {lr: 9}\nheads: {number: 4}\n"
        "methods: {ls: {steps: 7}, soups: {lr: 0.5}, another: {steps: 1}}\n"
    )
    for scale in ("tiny", "smoke"):
        (folder / f"{scale}.yaml").write_text(text)
    return Study(str(tmp_path / "figure.py"), "dpo", METHODS, Longer)


def refused(study: Study, *words: str) -> str:
    """The line that such words are refused with, planning included."""

    def read_and_resolve():
        config, methods = study.read(words)
        for _, own, mine in study.parts_of(config, methods):
            chosen_methods(own, mine)

    with pytest.raises(UserError) as caught:
        read_and_resolve()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_settings_are_those_of_the_answers_and_the_scripts_own(study):
    sections = {item.name for item in fields(study.schema)} - {item.name for item in fields(StudyConfig)}
    assert sections == {"longer", "dpo", "adapter"}
    assert issubclass(study.schema, Longer)
    config, methods = study.read(["longer=true", "adapter.rank=3"])
    assert methods is study.methods
    assert (config.seeds, config.scale, config.longer) == ([5], "tiny", True)
    assert config.dpo == DPOConfig(lr=0.25)
    assert config.adapter.rank == 3
    assert set(config.methods) == {"ls", "soups"}, "what a file says of other studies' methods is left out"
    assert not hasattr(config, "ppo"), "and what it says of other answers"
    assert replace(study, scale="smoke").read([])[0].scale == "smoke"


def test_a_section_that_no_answer_has_is_refused_in_words_and_files(study):
    assert refused(study, "ppo.lr=1").startswith("ppo.lr=1: there is no key 'ppo'")
    (study.folder / "tiny.yaml").write_text("dpoo: {lr: 1}")
    assert refused(study).startswith("tiny.yaml: there is no key 'dpoo' (did you mean dpo?)")


def test_a_key_that_only_some_scripts_read_is_refused_by_the_others(study):
    line = "evaluation.draws=8: this script does not read evaluation.draws; allowed is to leave it out"
    assert refused(study, "evaluation.draws=8") == line
    assert refused(study, "evaluation.prompt_sets.all.limit=1").startswith(
        "evaluation.prompt_sets.all.limit=1: "
    )
    reading = replace(study, reads=[DRAWS])
    assert reading.read(["evaluation.draws=8"])[0].evaluation.draws == 8
    assert refused(reading, "evaluation.prompt_sets={}").startswith("evaluation.prompt_sets={}: this script")
    # A file is for several scripts.
    (study.folder / "tiny.yaml").write_text("evaluation: {draws: 9}")
    assert study.read([])[0].evaluation.draws == 9


def test_sets_of_prompts_that_a_word_names_take_the_place_of_the_files(study):
    reading = replace(study, reads=[PROMPT_SETS])
    (study.folder / "tiny.yaml").write_text(
        "data: {name: synthetic}\nevaluation: {prompt_sets: {risky: {risky_share: 0.875}, mixed: {}}}"
    )

    def sets(*words):
        return reading.read(words)[0].evaluation.prompt_sets

    assert list(sets()) == ["risky", "mixed"]
    assert sets("evaluation.prompt_sets={few: {limit: 2}}") == {"few": {"limit": 2}}
    assert sets("evaluation.prompt_sets={}") == {}
    assert sets("evaluation.prompt_sets=null") is None
    assert sets("evaluation.prompt_sets.mixed.limit=3")["mixed"] == {"limit": 3}
    assert refused(reading, "evaluation.prompt_sets=5").startswith("evaluation.prompt_sets=5: ")


def test_one_study_without_parts_and_all_of_several(study):
    config, methods = study.read([])
    assert study.parts_of(config, methods) == [("", config, METHODS)]
    several = replace(study, parts=parts)
    config, methods = several.read([])
    assert [(label, list(mine)) for label, _, mine in several.parts_of(config, methods)] == [
        ("one", ["ls", "soups"]),
        ("other", ["soups"]),
    ]


def parts(config):
    return [("one", replace(config), METHODS), ("other", replace(config), {"soups": METHODS["soups"]})]


def test_some_of_the_methods(study):
    config, methods = study.read(["methods=[ls]"])
    assert list(methods) == ["ls"]
    # What is said of the others is no mistake.
    ((label, own, mine),) = study.parts_of(config, methods)
    assert (label, dict(mine), set(own.methods)) == ("", {"ls": PANACEA_LS_DPO}, {"ls"})
    assert chosen_methods(own, mine)["ls"].settings.steps == 7
    # A study none of whose methods are asked for is left out.
    several = replace(study, parts=parts)
    config, methods = several.read(["methods=[ls]"])
    assert [(label, list(mine)) for label, _, mine in several.parts_of(config, methods)] == [("one", ["ls"])]
    config, methods = several.read(["methods=[ls]", "methods=[soups]"])
    assert [list(mine) for _, _, mine in several.parts_of(config, methods)] == [["soups"], ["soups"]]


def test_a_method_of_ones_own_beside_them_brings_its_sections(study):
    words = [f"methods=[soups, '{__name__}:OWN']", "ppo.steps=3", "methods.own.lr=0.125"]
    config, methods = study.read(words)
    assert dict(methods) == {"soups": REWARDED_SOUPS_DPO, "own": OWN}
    ((_, own, mine),) = study.parts_of(config, methods)
    chosen = chosen_methods(own, mine)
    assert chosen["own"].settings.lr == 0.125
    assert chosen["own"].settings.steps == 3
    assert config.ppo.lr == 9, "from the file, now that there is such a section"
    assert chosen["own"].values["adapter"].fixed_scale == 0.3
    assert chosen["soups"].values["adapter"].fixed_scale is None
    several = replace(study, parts=parts)
    config, methods = several.read(words[:1])
    found = [list(mine) for _, _, mine in several.parts_of(config, methods)]
    assert found == [["soups", "own"], ["soups", "own"]]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "methods=[nothing]",
            "methods=nothing: allowed are ls, soups, all for all of them, and a Product of one's own as module:NAME",
        ),
        ("methods=ls", "methods=ls: a list of names is expected, such as [ls]"),
        ("methods=[]", "methods=[]: a list of names is expected, such as [ls]"),
        ("methods=[1]", "methods=[1]: a list of names is expected, such as [ls]"),
        ("methods=[ls", "methods=[ls: a list of names is expected, such as [ls]"),
        ("methods=['nowhere.at_all:X']", "methods=nowhere.at_all:X: no such module"),
        (f"methods=['{__name__}:Longer']", f"methods={__name__}:Longer: a Product is expected there"),
        # One of two of a name would take the other's place, or the reference policy's.
        (
            f"methods=['{__name__}:OWN', '{__name__}:OWN']",
            f"methods={__name__}:OWN: there is a method own already",
        ),
        (f"methods=['{__name__}:LS']", f"methods={__name__}:LS: there is a method ls already"),
        (f"methods=['{__name__}:SFT']", f"methods={__name__}:SFT: there is a method sft already"),
        (f"methods=['{__name__}:OWM']", f"methods={__name__}:OWM: the module {__name__} has no OWM"),
    ],
)
def test_what_is_no_method_is_one_line(study, word, said):
    assert refused(study, word).startswith(said)


def test_a_method_s_own_settings(study):
    config, methods = study.read(
        ["methods.ls.settings.adapter.fixed_scale=1", "methods.ls.settings.dpo.beta=0.5", "adapter.rank=5"]
    )
    chosen = chosen_methods(config, methods)
    assert chosen["ls"].values["adapter"] == AdapterConfig(rank=5, fixed_scale=1.0)
    assert chosen["ls"].settings == DPOConfig(lr=0.25, steps=7, beta=0.5)
    assert chosen["soups"].values["adapter"] == AdapterConfig(rank=5)
    assert chosen["soups"].settings == DPOConfig(lr=0.5)
    # What the command line says of a method goes before what its product says.
    own = {"own": OWN}
    made = schema_of(own)(methods={})
    assert chosen_methods(made, own)["own"].values["adapter"].fixed_scale == 0.3
    config, methods = study.read(
        [f"methods=['{__name__}:OWN']", "methods.own.settings.adapter.fixed_scale=1"]
    )
    ((_, config, methods),) = study.parts_of(config, methods)
    assert chosen_methods(config, methods)["own"].values["adapter"].fixed_scale == 1.0


def test_a_script_that_trains_nothing_has_no_methods_to_choose_from():
    theory = Study(str(Path(__file__).parents[2] / "experiments" / "panacea" / "theory.py"), "theory", {})
    with pytest.raises(UserError, match="methods=3: this script trains nothing"):
        theory.read(["methods=3"])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "methods.ls.settings.adaptor.rank=1",
            "methods.ls.settings.adaptor: allowed are keys of adapter, dpo",
        ),
        (
            "methods.ls.settings.adapter.rnk=1",
            "methods.ls.settings.adapter: Key 'rnk' not in 'AdapterConfig'",
        ),
        ("methods.ls.settings.adapter.rank=x", "methods.ls.settings.adapter: Value 'x'"),
        ("methods.ls.settings.adapter.rank=0", "methods.ls.settings.adapter.rank=0: must be at least 1"),
        ("methods.ls.settings.adapter=1", "methods.ls.settings.adapter: allowed are keys of adapter, dpo"),
        ("methods.ls.settings.seeds=[1]", "methods.ls.settings.seeds: allowed are keys of adapter, dpo"),
        ("methods.ls.settings.dpo.preferences_per_batch=7", "ls: dpo.preferences_per_batch=7: must divide"),
        ("methods.nobody.steps=1", "methods.nobody: this figure's methods are ls, soups"),
    ],
)
def test_what_a_method_cannot_be_told_is_one_line(study, word, said):
    assert refused(study, word).startswith(said)


@dataclass
class Another(OptimiserConfig):
    """Of an objective from outside."""


class Clashing(DPO):
    """Its section bears a name that is taken by another."""

    sections = {"dpo": Another}  # noqa: RUF012


class Covering(DPO):
    """Its section bears a study's own name."""

    sections = {"seeds": Another}  # noqa: RUF012


def product(objective: type) -> Product:
    return Product("dps", "lora", objective, "linear", TrainedOn.corners(), Soup())


def test_two_meanings_of_one_section_are_refused():
    with pytest.raises(UserError, match=r"^other: section dpo is Another here and DPOConfig in another of"):
        schema_of({"ls": PANACEA_LS_DPO, "other": product(Clashing)})
    with pytest.raises(UserError, match=r"^section seeds: a study has one of that name"):
        schema_of({"own": product(Covering)})
    alone = schema_of({"other": product(Clashing)})
    assert {item.name: item.type for item in fields(alone)}["dpo"] is Another


def test_a_schema_is_the_sections_of_all_its_methods_and_one_class():
    methods = {"a": PANACEA_PPO, "b": SAFE_RLHF_PPO, "c": GAPO_P1_PPO, "d": PANACEA_LS_DPO}
    assert set(sections_of(methods)) == {"ppo", "adapter", "lagrangian", "dpo"}
    assert set(sections_of({"ham": ham(2)})) == {"likelihood", "online", "ric", "heads", "adapter"}
    assert schema_of(methods) is schema_of(dict(methods))
    made = schema_of({"x": DPS_PPO})
    assert made.__doc__ == StudyConfig.__doc__
    assert set(sections_of({**methods, "ham": ham(2)})) <= all_sections()


def test_the_configurations_lie_beside_the_script(study, tmp_path):
    assert study.folder == tmp_path / "config" / "dpo"
    assert Path(study.file).parent == tmp_path
