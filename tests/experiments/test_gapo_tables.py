"""GAPO's two tables from end to end at their smallest scale: on the world, on three objectives, on one's own pairs."""

from __future__ import annotations

import importlib.util
import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.figures.prompts import prompt_sets
from lightning_moa.reporting.schema import CLAIMS, POINTS
from lightning_moa.study.conduct import conduct
from tests.conftest import REPOSITORY
from tests.evaluation.test_endpoint import Server, completion, longer_wins

SCRIPTS = REPOSITORY / "experiments" / "gapo"
QUICK = ["sft.steps=4", "ppo.steps=2", "ppo.lr=0.05", "reward_model.steps=2", "evaluation.prompts=16"]
"""At the smoke study's own rate so few updates change no response, and nothing is left to be judged."""
PARTS = {"points.csv", "metrics.csv", "costs.csv", "timings.csv", "reward_models.csv", "run.yaml"}
TRAINED = ["safe_rlhf", "mgda", "gapo_p1", "gapo_p2", "linear"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAIN, RATIO = load("table_main"), load("table_harmless_ratio")


def configure(module, root: Path, *words: str):
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *QUICK, *words]
    return module.STUDY.read(words)[0]


def start(module, root: Path, *words: str, scale: str = "smoke") -> tuple[Path, str]:
    """The folder that a start leaves, and what it showed."""
    shown = io.StringIO()
    module.main(configure(module, root, *words), Console(file=shown, width=200))
    name = Path(module.__file__).stem
    return root / "results" / "gapo" / name / scale, shown.getvalue()


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def main(root):
    return start(MAIN, root, "data.eval_pairs=64")


@pytest.fixture(scope="module")
def ratio(root, main):
    before = {path: path.stat().st_mtime_ns for path in (root / "runs").rglob("*")}
    found = start(RATIO, root, "data.eval_pairs=64", "thresholds=[0,-1,1]")
    assert {path: path.stat().st_mtime_ns for path in (root / "runs").rglob("*")} == before, "runs are shared"
    return found


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Three objectives on one's own pairs, two seeds."""
    root = tmp_path_factory.mktemp("pairs")
    rows = [
        {
            "prompt": f"what is {i} times {i % 7}?",
            "response_0": f"it is {i * (i % 7)}, as one may check",
            "response_1": f"perhaps {i}",
            "correct": 0,
            "kind": i % 2,
            "short": 1,
        }
        for i in range(60)
    ]
    path = root / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    labels = [f"data.labels.{name}={name}" for name in ("correct", "kind", "short")]
    return root, ["data=pairs", f"data.path={path}", *labels, "seeds=[0,1]", "data.limit=60"]


def rewards(folder, name, columns):
    """(method, seed) -> rewards of each, from a part's own points."""
    points = POINTS.read(folder / name / "points.csv")
    return points.set_index(["method", "seed"])[columns]


def test_main_leaves_every_file(main):
    folder, shown = main
    tables = {"table.csv", "table.md", "win_rates.csv", "paper_table.csv", "paper_table.md", "claims.csv"}
    assert names(folder) == {"risky", "mixed", *tables, "table_main.png", "table_main.pdf"}
    for part in ("risky", "mixed"):
        assert names(folder / part) == {*PARTS, "exact_front.csv"}
    assert "gapo table_main, mixed: mean gold reward" in shown
    record = yaml.safe_load((folder / "risky" / "run.yaml").read_text())
    assert record["config"]["judge"]["kind"] == "auto"


def test_the_table_holds_the_points_and_their_average(main):
    folder, _ = main
    table = pd.read_csv(folder / "table.csv")
    order = ["sft", "ppo_helpful", "ppo_harmless", *TRAINED]
    assert table[["prompt_set", "method"]].to_numpy().tolist() == [
        [part, method] for part in ("risky", "mixed") for method in order
    ]
    columns = ["gold_helpful", "gold_harmless"]
    for part in ("risky", "mixed"):
        points = rewards(folder, part, [*columns, "kl"]).droplevel("seed").loc[order]
        mine = table[table["prompt_set"] == part].set_index("method")
        np.testing.assert_array_equal(mine[[*columns, "kl"]], points)
        np.testing.assert_allclose(mine["average"], points[columns].mean(axis=1), rtol=1e-12)
    page = (folder / "table.md").read_text()
    row = table.iloc[2]
    assert f"| PPO on harmless | {row['gold_helpful']:.2f} | {row['gold_harmless']:.2f} |" in page


def test_claims_can_be_recomputed(main):
    folder, _ = main
    claims = CLAIMS.read(folder / "claims.csv").set_index("claim")
    assert len(claims) == 2 * 4 + 4 + 2 * 5 + 1 + 2 * 4
    at = rewards(folder, "risky", ["gold_helpful", "gold_harmless"]).droplevel("seed")
    helpful, harmless = at["gold_helpful"], at["gold_harmless"]
    average = at.mean(axis=1)
    expected = {
        "risky, harmless: SFT level with Safe RLHF": (harmless["safe_rlhf"] - harmless["sft"])
        / np.ptp(harmless),
        "risky, helpful: PPO on helpful alone is best": helpful["ppo_helpful"]
        - helpful.drop(["ppo_helpful", "linear"]).max(),
        "risky, harmless: PPO on helpful alone is worst": harmless["ppo_helpful"]
        - harmless[["sft", "safe_rlhf", "mgda", "gapo_p1", "gapo_p2"]].min(),
        "risky, average: GAPO, p = 1 above Linear": average["gapo_p1"] - average["linear"],
        "risky, average: GAPO, p = 1 above the best of the paper's methods for all objectives": average[
            "gapo_p1"
        ]
        - average[["safe_rlhf", "mgda", "gapo_p2"]].max(),
    }
    for claim, value in expected.items():
        assert claims["value"][claim] == pytest.approx(value, abs=1e-12), claim
    rates = pd.read_csv(folder / "win_rates.csv").set_index(["prompt_set", "other", "objective"])["rate"]
    value = claims["value"]["mixed, harmless: GAPO, p = 1 preferred to SFT"]
    assert value == rates["mixed", "sft", "harmless"]
    whose = claims["whose"]
    assert whose["risky, average: GAPO, p = 1 above Linear"] == "ours"
    assert whose["risky, average: GAPO, p = 1 above MGDA"] == "ours"
    assert (
        whose["risky, average: GAPO, p = 1 above the best of the paper's methods for all objectives"]
        == "paper"
    )
    orders = [claim for claim in claims.index if " < " in claim or " level with " in claim]
    assert not any("PPO on" in claim for claim in orders), "they have sentences of their own"
    # Recorded rewards judge, and not GPT-4o.
    assert whose["mixed, harmless: GAPO, p = 1 preferred to SFT"] == "ours"


def test_win_rates_are_the_gold_rewards(main, root):
    folder, _ = main
    rates = pd.read_csv(folder / "win_rates.csv")
    assert len(rates) == 2 * 7 * 2
    assert set(rates["n"]) == {16}
    config = configure(MAIN, root, "data.eval_pairs=64")
    collected = conduct(
        config, MAIN.methods_of(config), Console(file=io.StringIO()), prompt_sets(config)["risky"]
    )
    mine, theirs = (
        collected.responses[collected.responses["method"] == name].sort_values("prompt_index")[
            "gold_harmless"
        ]
        for name in ("gapo_p1", "ppo_helpful")
    )
    gap = mine.to_numpy() - theirs.to_numpy()
    value = rates.set_index(["prompt_set", "other", "objective"])["rate"]["risky", "ppo_helpful", "harmless"]
    assert value == pytest.approx(np.where(abs(gap) < 1e-6, 0.5, gap > 0).mean())


def test_the_papers_numbers_agree_with_each_other():
    paper = pd.read_csv(SCRIPTS / "paper_table.csv")
    assert len(paper) == 2 * 8
    off = (paper[["helpful", "harmless"]].mean(axis=1) - paper["average"]).abs()
    assert off.max() < 0.011, "its averages are means, but for rounding"
    assert paper["source"].str.contains("not comparable in value").all()
    assert paper["harmless_share"].dropna().tolist() == [0.3888, 0.9948, 0.6835, 0.7964, 0.8382, 0.8219]
    page = MAIN.paper_page(paper)
    assert "| GAPO p=1 | PKU-SafeRLHF | 7.48 | 7.92 | 7.70 | 83.82 |" in page


def test_the_ratio_is_the_share_of_responses_that_do_no_harm(ratio, root):
    folder, shown = ratio
    pictures = {"table_harmless_ratio.png", "table_harmless_ratio.pdf"}
    assert names(folder) == {"risky", "mixed", "table.csv", "table.md", "shares.csv", "claims.csv", *pictures}
    assert "gapo table_harmless_ratio, risky" in shown
    shares = pd.read_csv(folder / "shares.csv").set_index(["prompt_set", "method", "threshold"])
    assert len(shares) == 2 * 8 * 3
    config = configure(RATIO, root, "data.eval_pairs=64")
    for name, prompts in prompt_sets(config).items():
        collected = conduct(config, RATIO.methods_of(config), Console(file=io.StringIO()), prompts)
        for method, rows in collected.responses.groupby("method"):
            for threshold in (0, -1, 1):
                expected = (rows["gold_harmless"] > threshold - 1e-6).mean()
                assert shares["share"][name, method, threshold] == expected
    table = pd.read_csv(folder / "table.csv").set_index(["prompt_set", "method"])
    assert table["share"]["risky", "mgda"] == shares["share"]["risky", "mgda", 0]
    assert table["paper_share"]["risky", "mgda"] == 0.7964
    assert table["paper_share"].isna().sum() == 2 + 8, (
        "SFT, linear, and the set that the paper has no shares of"
    )


def test_the_ratios_order_is_the_papers(ratio):
    folder, _ = ratio
    claims = CLAIMS.read(folder / "claims.csv")
    order = ["PPO on helpful", "Safe RLHF", "MGDA", "GAPO, p = 2", "GAPO, p = 1", "PPO on harmless"]
    head = "risky, harmless ratio"
    assert claims["claim"].tolist() == [f"{head}: {low} < {high}" for low, high in pairwise(order)]
    share = pd.read_csv(folder / "table.csv").set_index(["prompt_set", "method"])["share"]["risky"]
    assert claims["value"].iloc[0] == pytest.approx(share["safe_rlhf"] - share["ppo_helpful"])


def test_a_model_behind_an_address_may_judge(main, root):
    """Policies are there already; its key and the address's query stay out of the results."""
    server = Server()
    try:
        server.answer = lambda _, question: (200, {}, completion(longer_wins(question)))
        words = [f"judge.url={server.url}?key=secret", "judge.model=m", "judge.prompts=3"]
        own = [f"results_dir={root / 'judged'}", "evaluation.prompt_sets=null"]
        start(MAIN, root, "data.eval_pairs=64", *words, *own)
    finally:
        server.close()
    folder = root / "judged" / "gapo" / "table_main" / "smoke"
    rates = pd.read_csv(folder / "win_rates.csv")
    assert set(rates["n"]) == {3}
    # The length of an answer is the same whatever it is judged by.
    by = rates.pivot(index="other", columns="objective", values="rate")
    assert by["helpful"].tolist() == by["harmless"].tolist()
    asked = {sent["messages"][0]["content"].split("Criterion: ")[1][:40] for _, _, sent in server.seen}
    assert len(asked) == 2
    assert "secret" not in (folder / "synthetic" / "run.yaml").read_text()


def test_three_objectives_of_the_world(tmp_path):
    words = ["objectives=[helpful,harmless,concise]", "evaluation.prompt_sets=null"]
    folder, _ = start(MAIN, tmp_path, *words, "evaluation.grid_step=0.5", "data.eval_pairs=64")
    table = pd.read_csv(folder / "table.csv")
    assert "ppo_concise" in table["method"].tolist()
    np.testing.assert_allclose(table.filter(regex=r"^gold_[a-z]+$").mean(axis=1), table["average"])
    claims = CLAIMS.read(folder / "claims.csv")
    # No order of the paper's: PPO on each alone in each, averages, and win rates against two methods.
    assert len(claims) == 3 * 3 + 5 + 2 * 3
    assert not claims["claim"].str.contains("<").any()


def test_three_objectives_of_ones_own_pairs(pairs):
    root, words = pairs
    folder, _ = start(MAIN, root, *words, scale="smoke-pairs")
    assert names(folder / "pairs") == PARTS
    table = pd.read_csv(folder / "table.csv")
    assert set(table["seeds"]) == {2}
    assert table["reward_kind_ci_low"].notna().all()
    assert set(pd.read_csv(folder / "win_rates.csv")["objective"]) == {"correct", "kind", "short"}
    with pytest.raises(UserError, match="harmless=short: its reward is a model that is trained on pairs"):
        start(RATIO, root, *words, "harmless=short", scale="smoke-pairs")
    rule = "ppo.rewards.short=lightning_moa.rewards.rules:concise"
    folder, _ = start(RATIO, root, *words, rule, "harmless=short", scale="smoke-pairs")
    table = pd.read_csv(folder / "table.csv").set_index("method")
    assert table["paper_share"].to_dict()["ppo_short"] == 0.9948
    assert table["paper_share"].to_dict()["ppo_correct"] == 0.3888
    assert np.isnan(table["paper_share"]["ppo_kind"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["harmless=kind"], "harmless=kind: allowed are helpful, harmless"),
        (["thresholds=[]"], "thresholds=.*: one or more different numbers"),
        (["thresholds=[1,1]"], "thresholds=.*: one or more different numbers"),
    ],
)
def test_what_the_ratio_cannot_be_made_of_is_refused(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        start(RATIO, tmp_path, *words)
    assert not (tmp_path / "runs").exists()


def test_a_judge_that_cannot_be_asked_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UserError, match=r"judge\.model: judge\.kind=endpoint needs"):
        start(MAIN, tmp_path, "judge.url=http://localhost:1/v1")
    assert not (tmp_path / "runs").exists()


def test_without_an_objective_of_that_name_the_second_says_what_is_harmless(tmp_path):
    config = configure(RATIO, tmp_path, "objectives=[helpful,concise]")
    assert RATIO.check_options(config) == "concise"
    assert RATIO.paper_shares(config, "concise")["ppo_concise"] == 0.9948
