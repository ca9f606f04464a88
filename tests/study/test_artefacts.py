"""Every script's studies, found by its module, and one line for what has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_moa.config import PPOStudyConfig
from lightning_moa.errors import UserError
from lightning_moa.study.artefacts import Study, needs_given_responses, studies_of

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
FIGURE4 = EXPERIMENTS / "panacea" / "figure4.py"


def test_a_script_of_one_study():
    (study,) = studies_of(FIGURE4, ["scale=paper", "hardware.devices=4"])
    assert isinstance(study.config, PPOStudyConfig)
    assert study.config.hardware.devices == 4
    assert list(study.methods) == ["panacea", "rewarded_soups", "dps"]
    assert study.label == ""


def test_given_responses_that_are_not_there_yet_do_not_stop_a_plan():
    (study,) = studies_of(FIGURE4, ["scale=paper"])
    assert needs_given_responses(study.config)
    assert len(study.plan().seeds[42].policies["dps"]) == 11
    for words in (["scale=tiny"], ["scale=paper", "ppo.ptx=0"]):
        assert not needs_given_responses(studies_of(FIGURE4, words)[0].config)


def test_hams_figures_show_a_small_and_a_large_model():
    small, large, online = studies_of(EXPERIMENTS / "ham" / "figure3.py", ["scale=paper"])
    assert [each.config.model.path for each in (small, large, online)] == [
        "facebook/opt-350m",
        "facebook/opt-6.7b",
        "facebook/opt-350m",
    ]
    assert online.config.online.rounds > 0 == small.config.online.rounds
    assert small.config.objectives == ["harmless", "helpful"]


def test_methods_that_hang_on_the_objectives():
    (study,) = studies_of(EXPERIMENTS / "gapo" / "table_main.py", ["scale=paper"])
    assert {"ppo_helpful", "ppo_harmless", "gapo_p1"} <= set(study.methods)


def test_a_script_may_say_its_studies(tmp_path):
    folder = tmp_path / "config" / "rlhf"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("{}")
    script = tmp_path / "own.py"
    script.write_text(
        "from dataclasses import replace\n"
        "from lightning_moa.config import PPOStudyConfig\n"
        "from lightning_moa.methods.products import PANACEA_PPO\n"
        "METHODS = {'panacea': PANACEA_PPO}\n"
        "main = None\n"
        "def studies(config):\n"
        "    return [(str(s), replace(config, seeds=[s]), METHODS) for s in config.seeds]\n"
        "if __name__ == '__main__':\n"
        "    from lightning_moa.study.script import script\n"
        '    script(PPOStudyConfig, main, __file__, family="rlhf", methods=METHODS)\n'
    )
    found = studies_of(script, ["seeds=[3,4]"])
    assert [(each.label, each.config.seeds) for each in found] == [("3", [3]), ("4", [4])]
    assert all(isinstance(each, Study) for each in found)


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
