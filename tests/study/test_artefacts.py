"""Every script's studies, found by what it declares, and one line for what declares none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.objectives.settings import PPOConfig
from lightning_moa.study.artefacts import studies_of, study_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.study import Study
from tests.experiments.scripts import load

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
FIGURE4 = EXPERIMENTS / "panacea" / "figure4.py"


def test_a_script_of_one_study():
    ((label, config, methods),) = studies_of(FIGURE4, ["scale=paper", "hardware.devices=4"])
    assert isinstance(config.ppo, PPOConfig)
    assert config.hardware.devices == 4
    assert list(methods) == ["panacea", "rewarded_soups", "dps"]
    assert label == ""


def test_given_responses_that_are_not_there_are_one_line_and_then_all_is_planned(tmp_path):
    ((_, config, methods),) = studies_of(FIGURE4, ["scale=paper"])
    with pytest.raises(
        UserError, match=r"^ppo\.ptx=16: ppo\.ptx_path=<jsonl .*ppo\.ptx=0 leaves the term out$"
    ):
        plan_study(config, methods)
    given = tmp_path / "given.jsonl"
    given.touch()
    for words in ([f"ppo.ptx_path={given}"], ["ppo.ptx=0"]):
        ((_, config, methods),) = studies_of(FIGURE4, ["scale=paper", *words])
        assert len(plan_study(config, methods).seeds[42].policies["dps"]) == 11


def test_hams_figures_show_a_small_and_a_large_model():
    parts = studies_of(EXPERIMENTS / "ham" / "figure3.py", ["scale=paper"])
    assert len({label for label, _, _ in parts}) == 3
    small, large, online = (config for _, config, _ in parts)
    assert [each.model.path for each in (small, large, online)] == [
        "facebook/opt-350m",
        "facebook/opt-6.7b",
        "facebook/opt-350m",
    ]
    assert online.online.rounds > 0 == small.online.rounds
    assert small.objectives == ["harmless", "helpful"]


def test_methods_that_hang_on_the_objectives():
    ((_, _, methods),) = studies_of(EXPERIMENTS / "gapo" / "table_main.py", ["scale=paper"])
    assert {"ppo_helpful", "ppo_harmless", "gapo_p1"} <= set(methods)


def test_a_script_may_say_its_studies(tmp_path):
    folder = tmp_path / "config" / "rlhf"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("{}")
    script = tmp_path / "own.py"
    script.write_text(
        "from dataclasses import replace\n"
        "from lightning_moa.methods.products import PANACEA_PPO\n"
        "from lightning_moa.study.script import script\n"
        "from lightning_moa.study.study import Study\n"
        "METHODS = {'panacea': PANACEA_PPO}\n"
        "main = None\n"
        "def parts(config):\n"
        "    return [(str(s), replace(config, seeds=[s]), METHODS) for s in config.seeds]\n"
        "STUDY = Study(__file__, 'rlhf', METHODS, parts=parts)\n"
        "if __name__ == '__main__':\n"
        "    script(STUDY, main)\n"
    )
    found = studies_of(script, ["seeds=[3,4]"])
    assert [(label, config.seeds) for label, config, _ in found] == [("3", [3]), ("4", [4])]
    assert isinstance(study_of(script), Study)
    assert all(list(methods) == ["panacea"] for _, _, methods in found)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (EXPERIMENTS / "panacea" / "tables.py", "trains nothing"),
        (EXPERIMENTS / "panacea" / "nothing.py", "no such script"),
        (EXPERIMENTS / "gapo" / "paper_table.csv", "no script of a study"),
        (EXPERIMENTS.parent / "lightning_moa" / "cli.py", "no script of a study"),
    ],
)
def test_what_has_no_study_is_one_line(path, said):
    with pytest.raises(UserError, match=said) as caught:
        studies_of(path, [])
    assert "\n" not in str(caught.value)


PARTED = [
    *("ham/figure_structure", "ham/figure_warm_up", "ham/figure8", "panacea/figure_tchebycheff"),
    *("panacea/misalignment", "cross/products"),
]


@pytest.mark.parametrize("name", PARTED)
def test_settings_of_a_method_that_no_part_has_are_refused(name):
    with pytest.raises(UserError, match=r"^methods\.nosuch: this figure's methods are "):
        studies_of(EXPERIMENTS / f"{name}.py", ["scale=smoke", "methods.nosuch.lr=0.1"])


def test_methods_under_names_of_the_parts_own():
    script = EXPERIMENTS / "ham" / "figure_structure.py"
    with pytest.raises(
        UserError, match=r"^methods=\[ham\]: no study of this script has them; they have ham_per_obj"
    ):
        studies_of(script, ["scale=smoke", "methods=[ham]"])
    with pytest.raises(UserError, match=r"^methods\.ham: this figure's methods are ham_per_objective_"):
        studies_of(script, ["scale=smoke", "methods.ham.lr=0.1"])
    (_, own, methods), *_ = studies_of(script, ["scale=smoke"])
    first = next(iter(methods))
    assert not own.methods
    (_, own, _), *others = studies_of(script, ["scale=smoke", f"methods.{first}.lr=0.5"])
    assert own.methods[first].lr == 0.5
    assert not any(config.methods for _, config, _ in others)
    with pytest.raises(UserError, match="exact_beta is empty"):
        load(script).check_options(study_of(script).read(["scale=smoke", "exact_beta=null"])[0])


def test_what_is_said_of_dpo_counts_in_the_half_that_is_trained_by_it():
    script = EXPERIMENTS / "panacea" / "figure_tchebycheff.py"

    def half(*words):
        rlhf, (_, dpo, _) = studies_of(script, ["scale=smoke", *words])
        return rlhf[1], dpo

    _, usual = half()
    rlhf, dpo = half(
        "dpo.steps=3", "evaluation.max_new_tokens=5", "methods.panacea_tche_rlhf.settings.ppo.kl_coeff=0.125"
    )
    assert (dpo.dpo.steps, dpo.evaluation.max_new_tokens) == (3, 5)
    assert dpo.dpo.lr == usual.dpo.lr
    assert dpo.evaluation.grid_step == usual.evaluation.grid_step
    tche = rlhf.methods["panacea_tche_rlhf"].settings["ppo"]
    assert tche["kl_coeff"] == 0.125
    assert len(tche["ideal_point"]) == 2, "z is still the world's"


def test_a_script_of_ones_own_may_put_its_annotations_off(tmp_path):
    script = tmp_path / "random.py"  # a name that a module has
    script.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from lightning_moa.config import StudyConfig\n"
        "from lightning_moa.fields import option\n"
        "from lightning_moa.methods.products import PANACEA_PPO\n"
        "from lightning_moa.study.study import Study\n"
        "@dataclass\n"
        "class Mine(StudyConfig):\n"
        "    longer: bool = option(False, 'whether it is')\n"
        "STUDY = Study(__file__, 'rlhf', {'panacea': PANACEA_PPO}, Mine)\n"
    )
    assert study_of(script).options.__name__ == "Mine"
    script.write_text("raise KeyError('mine')")
    with pytest.raises(KeyError):
        study_of(script)
    assert "lightning_moa_script_random" not in sys.modules
