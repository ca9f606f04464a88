"""Published reward models in a study: trained for and measured by, alone or beside a model trained here."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.config import parse
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.rewards import HubRewards
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.collect import collect
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import plan_study
from lightning_moa.study.results import Artefact
from lightning_moa.study.tasks import in_order
from tests.conftest import REPOSITORY
from tests.rewards.models import gpt2_folder, llama_folder

BEAVER, GPT2 = "PKU-Alignment/beaver-7b-v1.0-reward", "Ray2333/gpt2-large-harmless-reward_model"
METHODS = {"panacea": PANACEA_PPO}
RLHF = REPOSITORY / "experiments" / "panacea" / "config" / "rlhf"


def settings(*words):
    small = [
        "evaluation.prompts=6",
        "evaluation.grid_step=1",
        "ppo.steps=2",
        "sft.steps=4",
        "data.eval_pairs=40",
    ]
    return parse(schema_of(METHODS), ["scale=smoke", "code_in_key=false", *small, *words], RLHF, METHODS)


def functions(config):
    return {task.function.rpartition(":")[2] for task in in_order(plan_study(config, METHODS).targets())}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return llama_folder(root / "beaver", max_position_embeddings=512), gpt2_folder(root / "gpt2")


def test_a_model_is_trained_here_only_for_what_the_hub_leaves_out():
    both = settings("ppo.reward=trained", f"ppo.rewards={{helpful: {BEAVER}, harmless: {GPT2}}}")
    one = settings("ppo.reward=trained", f"ppo.rewards.helpful={BEAVER}")
    assert "reward_model" not in functions(both)
    assert "reward_model" in functions(one)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ppo.reward=hub"], "ppo.reward=hub: allowed are auto, gold, trained"),
        (
            [f"ppo.rewards.humor={BEAVER}"],
            r"ppo.rewards.humor\S*: the study's objectives are helpful, harmless",
        ),
        (["ppo.rewards.helpful=beaver"], "ppo.rewards.helpful=beaver: the table has no such model"),
        (["ppo.rewards.harmless.path=here"], "ppo.rewards.harmless.model: which model that is must be said"),
        (
            [f"ppo.rewards.helpful={{model: {BEAVER}, path: /nowhere}}"],
            "ppo.rewards.helpful.path=/nowhere: there is no such folder",
        ),
    ],
)
def test_a_choice_that_cannot_be_run_is_named_before_anything_is(words, message):
    with pytest.raises(UserError, match=message):
        plan_study(settings(*words), METHODS)


def test_other_files_under_the_same_name_are_other_runs(folders, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    keys = []
    for content in ("one", "two"):
        (folder / "config.json").write_text(content)
        plan = plan_study(settings(f"ppo.rewards.helpful={{model: {BEAVER}, path: {folder}}}"), METHODS)
        keys.append([task.key for task in in_order(plan.targets())])
    assert sum(a != b for a, b in zip(*keys, strict=True)) == 3, "the policy and both measurements"


def test_a_study_is_trained_for_and_measured_by_the_models_it_names(folders, tmp_path):
    """One objective by a published model (read from a folder), the other by one that is trained here."""
    beaver, _ = folders
    config = settings(
        "ppo.reward=trained",
        f"ppo.rewards.helpful={{model: {BEAVER}, path: {beaver}}}",
        "ppo.reward_scale.harmless=5",
    )
    config = replace(config, runs_dir=str(tmp_path / "runs"), results_dir=str(tmp_path), workers=1)
    collected = conduct(config, METHODS, Console(file=io.StringIO()))
    responses = collected.responses
    hub = HubRewards(BEAVER, path=beaver)
    expected = hub.scores(responses["prompt"].tolist(), responses["response"].tolist())[:, 0]
    np.testing.assert_allclose(responses["reward_helpful"], expected, rtol=1e-4, atol=1e-5)
    assert responses["reward_harmless"].nunique() > 1
    steered = collected.points[collected.points["method"] == "panacea"]
    assert steered[["reward_helpful", "reward_harmless", "gold_helpful"]].notna().all(axis=None)
    pd.testing.assert_frame_equal(
        collect(plan_study(config, METHODS), tmp_path / "runs").points, collected.points
    )

    artefact = Artefact.begin("panacea", "figure4", config)
    artefact.write(collected, artefact.tables(collected), None)
    record = read_run_record(artefact.folder / "run.yaml")
    learned = "a model trained on the pairs, less its mean over the reference policy's"
    assert record["rewards"]["reward"] == f"helpful: {BEAVER}; harmless: {learned}"
    assert record["config"]["ppo"]["reward_scale"] == {"harmless": 5.0}
    assert not (artefact.folder / "claims.csv").exists()
