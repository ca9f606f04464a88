"""What run.yaml says that numbers hang on: content, not names and places."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lightning_moa.reporting.differences import differing
from lightning_moa.reporting.run_record import MEASURED_WITH
from lightning_moa.study.artefacts import study_of
from lightning_moa.study.planning import REFERENCE, plan_study
from lightning_moa.study.provenance import measured_with, place_of

FIGURE5 = study_of(Path(__file__).resolve().parents[2] / "experiments" / "panacea" / "figure5.py")
PROMPTS = ("a", "b")


def write(path: Path, label: int = 1) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows = [
        {"prompt": f"p {i}", "response_0": f"x {i}", "response_1": f"y {i} z", "h": i % 2 * label, "s": i % 2}
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def said(*words: str, prompts: tuple[str, ...] = PROMPTS, seeds: tuple[int, ...] = (0, 1)):
    config, methods = FIGURE5.read(["scale=smoke", f"seeds={list(seeds)}", "exact_beta=0.5", *words])
    plan = plan_study(config, methods)
    responses = pd.concat(
        [
            pd.DataFrame({"prompt_index": range(len(prompts)), "prompt": prompts}).assign(
                method=REFERENCE, seed=seed
            )
            for seed in seeds
        ]
    )
    found = measured_with(config, None, plan, responses)
    assert set(found) == set(MEASURED_WITH)
    assert yaml.safe_load(yaml.safe_dump(found)) == found
    return found


def of_file(path: Path) -> list[str]:
    return ["data=pairs", f"data.path={path}", "data.labels={helpful: h, harmless: s}"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], None),
        (["data.pairs=300"], "data"),
        (["evaluation.temperature=0.5"], "decoding"),
        (["sft.steps=7"], "base"),
        (["hardware.precision=bf16"], "base"),
        (["reward_model.steps=7"], "rewards"),
        # What changes methods, or how a machine comes to a result, sets no numbers apart.
        (["dpo.lr=0.5", "evaluation.batch_size=7", "evaluation.grid_step=1"], None),
    ],
)
def test_a_change_is_seen_in_its_part_alone(words, part):
    first, second = said(), said(*words)
    assert [key for key in first if first[key] != second[key]] == ([] if part is None else [part])


def test_the_content_of_a_file_counts_and_not_its_place(tmp_path):
    first, copied, zeros = (
        said(*of_file(write(tmp_path / folder / "pairs.jsonl", label)))
        for folder, label in (("a", 1), ("b", 1), ("c", 0))
    )
    assert first == copied
    runs = [("first", first), ("zeros", zeros)]
    (warning,) = differing(runs)
    assert warning.startswith("data differ: content ")
    assert str(tmp_path) not in yaml.safe_dump(first)


def test_prompts_are_told_by_seed_only_where_each_has_some_of_its_own(tmp_path):
    assert set(said()["prompts"]) == {"number", "content of seed 0", "content of seed 1"}
    of = of_file(write(tmp_path / "a" / "pairs.jsonl"))
    assert set(said(*of)["prompts"]) == {"number", "content"}
    assert said(*of)["prompts"] != said(*of, prompts=("a", "c"))["prompts"]
    # Seeds that another machine adds answer the same prompts.
    assert said(*of, seeds=(2,))["prompts"] == said(*of)["prompts"]


def test_the_runs_folder_is_named_from_the_results():
    assert place_of(Path("/x/runs"), Path("/x/results/a/b")) == "../../../runs"
