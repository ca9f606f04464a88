"""Every script's studies, found by what it declares, and one line for what declares none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.objectives.settings import PPOConfig
from lightning_moa.study.artefacts import studies_of, study_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.study import Study

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
