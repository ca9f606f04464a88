"""Panacea's RLHF figures from end to end at their smallest scale, sharing one folder of runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml

from lightning_moa.errors import UserError
from lightning_moa.study.planning import plan_study
from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "experiments" / "panacea"
CONFIGS = SCRIPTS / "config" / "rlhf"
VERDICTS = {"holds", "within noise", "fails", "one seed"}
WEIGHTS = ["lambda_helpful", "lambda_harmless"]
# Text goes through every part, with as few updates as possible.
QUICK = ["sft.steps=2", "reward_model.steps=2", "ppo.steps=1", "evaluation.grid_step=1"]


def start(root: Path, figure: str, *words: str) -> CompletedProcess[str]:
    folders = (f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}")
    # Starts must find each other's runs even where somebody edits the package meanwhile.
    given = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *words]
    return forked.run(SCRIPTS / f"{figure}.py", given, folder=REPOSITORY, environment={"COLUMNS": "200"})


def folder_of(root: Path, figure: str, name: str = "smoke") -> Path:
    return root / "results" / "panacea" / figure / name


def script(figure: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(figure, SCRIPTS / f"{figure}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Figure 4, started from nothing: where its results and its runs lie."""
    root = tmp_path_factory.mktemp("rlhf")
    done = start(root, "figure4")
    assert done.returncode == 0, done.stderr
    return root


def test_figure4_leaves_every_file(root):
    folder = folder_of(root, "figure4")
    tables = {"points.csv", "metrics.csv", "claims.csv", "timings.csv", "exact_front.csv", "modes.csv"}
    tables |= {"costs.csv", "reward_models.csv", "sensitivity.csv"}
    assert {path.name for path in folder.iterdir()} == tables | {"run.yaml", "figure4.png", "figure4.pdf"}
    points = pd.read_csv(folder / "points.csv")
    # Panacea at its snapshot and at its end; the others at their end.
    assert points.groupby("method").size().to_dict() == {
        "panacea": 6,
        "rewarded_soups": 3,
        "dps": 3,
        "panacea_as_all_of_rewarded_soups": 3,
        "panacea_as_all_of_dps": 3,
        "sft": 1,
    }
    ends = points.groupby("method")["step"].max()
    assert ends["panacea_as_all_of_rewarded_soups"] == 2 * ends["rewarded_soups"] == 2 * ends["panacea"]
    assert ends["panacea_as_all_of_dps"] == 3 * ends["dps"]
    assert sorted(points[points["method"] == "panacea"]["step"].unique()) == [1, 4]
    assert set(pd.read_csv(folder / "claims.csv")["verdict"]) <= VERDICTS
    assert yaml.safe_load((folder / "run.yaml").read_text())["config"]["ppo"]["reward"] == "trained"


def test_figure4_counts_every_risky_response_once(root):
    modes = pd.read_csv(folder_of(root, "figure4") / "modes.csv")
    shares = modes.filter(like="risky_")
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    # Half of the 64 measured prompts are risky.
    assert (modes["n"] == 32).all()
    assert len(modes) == len(pd.read_csv(folder_of(root, "figure4") / "points.csv"))


def test_figure3_reuses_figure4s_policies_and_measurements(root):
    done = start(root, "figure3")
    assert done.returncode == 0, done.stderr
    assert "runs to do" not in done.stdout
    folder = folder_of(root, "figure3")
    responses, points = (pd.read_csv(folder / name).fillna(-1) for name in ("responses.csv", "points.csv"))
    means = responses.groupby(["method", "step", *WEIGHTS])["gold_helpful"].mean()
    expected = points.set_index(["method", "step", *WEIGHTS])["gold_helpful"]
    np.testing.assert_allclose(means, expected.reindex(means.index), rtol=1e-12)
    assert len(responses) == 64 * 4
    assert (folder / "figure3.png").stat().st_size > 10_000


def test_figure7_trains_its_own_policies_on_the_same_base(root):
    done = start(root, "figure7")
    assert done.returncode == 0, done.stderr
    assert "14 runs to do" in done.stdout
    again = start(root, "figure7")
    assert again.returncode == 0, again.stderr
    folder = folder_of(root, "figure7")
    values = pd.read_csv(folder / "singular_values.csv")
    layers = values.groupby(["layer", "kind"]).size().unstack()
    assert (layers["sigma"] == 2).all()
    assert (layers["scale"] == 1).all()
    assert "lm_head" in layers.index
    assert (values["value"].abs() > 0).all()
    config = yaml.safe_load((folder / "run.yaml").read_text())["config"]["methods"]
    scales = {
        "fixed_1": 1.0,
        "fixed_1e-1": 0.1,
        "fixed_1e-2": 0.01,
        "fixed_1e-3": 0.001,
        "fixed_1e-4": 0.0001,
        "fixed_1e-5": 0.00001,
    }
    assert {name: own["settings"] for name, own in config.items()} == {
        name: {"adapter": {"fixed_scale": scale}} for name, scale in scales.items()
    }
    # What is recorded is what they were trained with.
    specs = [json.loads(path.read_text()) for path in (root / "runs").glob("align-*/task.json")]
    trained = [(one.get("spec", one))["sections"]["adapter"]["fixed_scale"] for one in specs]
    assert set(scales.values()) <= set(trained)


def test_figure6_shows_one_response_at_each_of_the_five_preferences(root):
    done = start(root, "figure6")
    assert done.returncode == 0, done.stderr
    assert "panacea, seed 0" not in done.stdout.replace("measure panacea, seed 0", "")
    folder = folder_of(root, "figure6")
    answers = pd.read_csv(folder / "figure6.csv", keep_default_na=False)
    assert answers["lambda_helpful"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(answers["prompt"]) == {"steal boats"}
    lines = (folder / "figure6.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith(r"| \[") and "." in line]
    assert len(rows) == 5
    assert all(response in row for response, row in zip(answers["response"], rows, strict=True))


def test_wrong_words_are_refused_in_one_line(root):
    for figure, word, said in (
        ("figure6", "prompt=rob a bank", "'rob a bank': is not among the 16 held-out prompts; allowed are"),
        ("figure3", "methods.dps.steps=3", "methods.dps: this figure's methods are panacea"),
    ):
        done = start(root, figure, word, "replace=true")
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_prompt_that_a_world_does_not_hold_out_is_refused_before_anything_is_trained():
    study = script("figure6").STUDY
    assert study.parts_of(*study.read(["scale=smoke", "prompt=steal boats"]))
    with pytest.raises(UserError, match="'rob a bank': is not among the 16 held-out prompts; allowed are"):
        study.parts_of(*study.read(["scale=smoke", "prompt=rob a bank"]))


def test_text_without_gold_rewards(tmp_path):
    """Reward models are trained on the pairs first; responses and prompts hold what breaks tables."""
    rows = [
        {
            "prompt": f"What is\n|{i}| of *them*?",
            "response_0": f"It is \\{i}.\r\nNo more.",
            "response_1": f"Ask <b>another</b> {i}",
            "good": i % 2,
            "kind": (i // 2) % 2,
        }
        for i in range(60)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["data=pairs", f"data.path={file}", "data.labels.good=good", "data.labels.kind=kind", *QUICK]
    done = start(tmp_path, "figure4", *given)
    assert done.returncode == 0, done.stderr
    folder = folder_of(tmp_path, "figure4", "smoke-pairs")
    assert not (folder / "modes.csv").exists()
    points = pd.read_csv(folder / "points.csv")
    assert points.filter(like="gold_").isna().all(axis=None)
    assert points.filter(like="reward_").notna().all(axis=None)
    assert yaml.safe_load((folder / "run.yaml").read_text())["config"]["ppo"]["reward"] == "trained"
    done = start(tmp_path, "figure6", *given)
    assert done.returncode == 0, done.stderr
    answers = pd.read_csv(folder_of(tmp_path, "figure6", "smoke-pairs") / "figure6.csv")
    assert len(answers) == 5
    assert answers["prompt"].str.startswith("What is\\n|").all()
    table = (folder_of(tmp_path, "figure6", "smoke-pairs") / "figure6.md").read_text()
    assert r"What is\\n\|" in table


@pytest.mark.parametrize("scale", ["smoke", "tiny", "gpu", "paper"])
def test_every_configuration_speaks_of_methods_that_a_figure_has(scale, tmp_path):
    # The paper's PTX needs a file of the user's own.
    (tmp_path / "alpaca.jsonl").write_text("")
    words = [f"scale={scale}", f"ppo.ptx_path={tmp_path / 'alpaca.jsonl'}"]
    figures = [script(f"figure{number}") for number in (3, 4, 6, 7)]
    known = {name for figure in figures for name in figure.METHODS}
    for file in CONFIGS.glob(f"{scale}*.yaml"):
        assert set(yaml.safe_load(file.read_text()).get("methods", {})) <= known
    for figure in figures:
        plan = plan_study(figure.STUDY.read(words)[0], figure.METHODS)
        assert set(plan.seeds[next(iter(plan.seeds))].policies) == set(figure.METHODS)


def test_figures_share_panaceas_policy():
    def policies(figure: str) -> set[str]:
        module = script(figure)
        config, _ = module.STUDY.read(["scale=tiny", "seeds=[0]"])
        return {task.key for task in plan_study(config, module.METHODS).seeds[0].policies["panacea"]}

    assert policies("figure3") == policies("figure4") == policies("figure6")
