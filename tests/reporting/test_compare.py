"""Comparisons: the numbers, the refusals and the warnings."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.compare_formats import as_csv, as_json, as_latex, as_markdown
from lightning_moa.reporting.compare_plot import comparison_figure
from lightning_moa.reporting.foreign import parse_columns
from lightning_moa.reporting.fronts import values_of
from lightning_moa.reporting.loaded import Run, load_runs, merged
from lightning_moa.reporting.metrics import metrics_frame
from lightning_moa.reporting.run_record import package_versions
from lightning_moa.reporting.schema import ACCURACIES, METRICS, POINTS
from lightning_moa.reporting.verdicts import LEVEL, estimate

from .frames import heads_frame, points_frame

RECORD: dict[str, Any] = {
    "data": {"name": "pairs", "labels": {"helpful": "h", "harmless": "s"}, "content": "a1"},
    "prompts": {"number": 64, "content": "b1"},
    "decoding": {"max_new_tokens": 16, "temperature": 1.0, "top_p": 1.0, "sample_seed": None},
    "base": {"path": "org/model", "revision": "c1", "content": None, "precision": "fp32"},
    "rewards": {"reward": "a model", "gold": "none", "sources": {"helpful": {"kind": "model", "name": "r1"}}},
    "commit": {"id": "0123456789abcdef", "dirty": False},
    "packages": package_versions(),
}


def put(folder: Path, frame: pd.DataFrame, record: dict[str, object] | None = RECORD) -> Path:
    POINTS.write(frame, folder / "points.csv")
    if record is not None:
        (folder / "run.yaml").write_text(yaml.safe_dump(record))
    return folder


def test_numbers_of_two_runs(tmp_path: Path) -> None:
    strong = points_frame({"panacea": 1.0})
    weak = points_frame({"rewarded_soups": 0.5, "dps": 0.6}, seeds=(7,), noise=0)
    runs = load_runs([put(tmp_path / "a" / "tiny", strong), put(tmp_path / "b" / "tiny", weak)])
    result = compare(runs)
    assert result.space == "gold"
    assert result.warnings == []
    both = np.concatenate([values_of(strong, "gold"), values_of(weak, "gold")])
    np.testing.assert_array_equal(result.reference, pareto.default_reference(both))
    panacea, soups, dps = result.entries
    assert [entry.name for entry in result.entries] == [
        "a/tiny: panacea",
        "b/tiny: rewarded_soups",
        "b/tiny: dps",
    ]
    volumes = [
        pareto.hypervolume(values_of(strong[strong.seed == s], "gold"), result.reference) for s in (0, 1, 2)
    ]
    # The verdicts' own interval, which three seeds make wider than the three values themselves.
    assert panacea.hypervolume == estimate(dict(enumerate(volumes)))
    assert panacea.hypervolume.value == pytest.approx(np.mean(volumes))
    assert panacea.hypervolume.ci_low < min(volumes)
    assert max(volumes) < panacea.hypervolume.ci_high
    assert np.isnan(soups.hypervolume.ci_low)
    assert soups.hypervolume.value < dps.hypervolume.value < panacea.hypervolume.value
    # The noise-free dps front (x 0.6) beats the soups (x 0.5) point by point.
    assert result.dominated[2] == [1]
    assert result.dominated[1] == []


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_the_mean_as_often_as_they_say(seeds: int) -> None:
    """Of hypervolumes of noisy fronts, by simulation: a percentile bootstrap of three seeds covers 71%, not 95%."""
    rng = np.random.default_rng(0)
    front = points_frame({"a": 1.0}, seeds=(0,), noise=0)
    values = values_of(front, "gold")
    noisy = values + 0.1 * rng.normal(size=(1000, *values.shape))
    pool = np.array([pareto.hypervolume(each, [-1.0, -1.0]) for each in noisy])
    found = []
    for _ in range(3000):
        sample = estimate(dict(enumerate(rng.choice(pool, size=seeds))))
        found.append(sample.ci_low <= pool.mean() <= sample.ci_high)
    # Three standard errors of such a share, and 1% for a distribution that is not quite normal.
    assert np.mean(found) == pytest.approx(1 - LEVEL, abs=3 * np.sqrt(LEVEL * (1 - LEVEL) / 3000) + 0.01)


def test_runs_are_found_as_files_folders_and_above(tmp_path: Path) -> None:
    put(tmp_path / "x" / "tiny", points_frame({"a": 1.0}))
    put(tmp_path / "y" / "tiny", points_frame({"b": 1.0}))
    assert [run.name for run in load_runs([tmp_path])] == ["x/tiny", "y/tiny"]
    assert len(load_runs([tmp_path / "x" / "tiny" / "points.csv", tmp_path])) == 2
    other = tmp_path / "mine.csv"
    POINTS.write(points_frame({"c": 1.0}), other)
    assert load_runs([other])[0].name.endswith("mine")


def test_different_objectives_are_refused_with_the_reason(tmp_path: Path) -> None:
    put(tmp_path / "a", points_frame({"a": 1.0}))
    put(tmp_path / "b", points_frame({"b": 1.0}, objectives=("helpful", "humorous")))
    with pytest.raises(UserError, match=r"helpful, humorous.*helpful, harmless.*same objectives"):
        load_runs([tmp_path])


def test_the_order_of_objectives_does_not_matter(tmp_path: Path) -> None:
    put(tmp_path / "a", points_frame({"a": 1.0}))
    frame = points_frame({"b": 1.0}, objectives=("harmless", "helpful"))
    frame["gold_helpful"] += 10
    put(tmp_path / "b", frame)
    entries = compare(load_runs([tmp_path])).entries
    assert entries[1].front[0][:, 0].min() > 9


def test_spaces(tmp_path: Path) -> None:
    frame = points_frame({"a": 1.0})
    no_gold = frame.assign(gold_helpful=np.nan, gold_harmless=np.nan)
    put(tmp_path / "a", frame)
    put(tmp_path / "b", no_gold)
    runs = load_runs([tmp_path])
    assert compare(runs).space == "reward"
    with pytest.raises(UserError, match="no values in space 'gold'; it has reward"):
        compare(runs, "gold")
    with pytest.raises(UserError, match="accuracy"):
        compare(runs, "accuracy")
    with pytest.raises(UserError, match="allowed are accuracy, gold, judge, reward"):
        compare(runs, "golden")
    names = {"reward_helpful": "accuracy_helpful", "reward_harmless": "accuracy_harmless"}
    accuracies = frame.drop(columns=["gold_helpful", "gold_harmless", "kl"]).rename(columns=names)
    ACCURACIES.write(accuracies, tmp_path / "a" / "accuracies.csv")
    accurate = load_runs([tmp_path / "a"])
    assert compare(accurate, "accuracy").entries[0].hypervolume.value > 0
    assert comparison_figure(accurate, "accuracy").axes


def test_given_references(tmp_path: Path) -> None:
    runs = load_runs([put(tmp_path, points_frame({"a": 1.0}, noise=0))])
    assert compare(runs, reference=[0, 0]).reference.tolist() == [0, 0]
    # Two ends of the front touch the reference point in one objective.
    assert "6 points aren't above the reference" in compare(runs, reference=[0, 0]).warnings[0]
    for bad in ([0.0], [0, 0, 0], [0, np.nan]):
        with pytest.raises(UserError, match="helpful, harmless"):
            compare(runs, reference=bad)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (RECORD, None),
        ({"data": RECORD["data"] | {"content": "a2"}}, r"data differ: content a1 (a), a2 (b)"),
        (
            {"data": RECORD["data"] | {"labels": {"helpful": "h", "harmless": "-s"}}},
            "data differ: labels.harmless s (a)",
        ),
        ({"data": RECORD["data"] | {"labels": {}}}, "labels.helpful h (a), none (b)"),
        ({"prompts": {"number": 64, "content": "b2"}}, "held-out prompts differ: content b1 (a), b2 (b)"),
        (
            {"decoding": RECORD["decoding"] | {"temperature": 0.7}},
            "decoding differs: temperature 1.0 (a), 0.7 (b)",
        ),
        ({"base": RECORD["base"] | {"revision": "c2"}}, "base models differ: revision c1 (a), c2 (b)"),
        (
            {"rewards": RECORD["rewards"] | {"sources": {"helpful": {"kind": "model", "name": "r2"}}}},
            "reward models differ: sources.helpful.name r1 (a), r2 (b)",
        ),
        ({"commit": {"id": "abc", "dirty": False}}, "commits differ: 0123456 (a), abc (b)"),
        (
            {"commit": RECORD["commit"] | {"dirty": True}},
            "commits differ: 0123456 (a), 0123456 with changes (b)",
        ),
        ({"packages": RECORD["packages"] | {"torch": "1.0"}}, "library versions differ: torch "),
    ],
)
def test_one_warning_for_what_differs_and_none_where_nothing_does(
    tmp_path: Path, record: dict[str, Any], message: str | None
) -> None:
    put(tmp_path / "a", points_frame({"a": 1.0}))
    put(tmp_path / "b", points_frame({"b": 1.0}), RECORD | record)
    warnings = compare(load_runs([tmp_path])).warnings
    if message is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert message in warning


def test_records_that_lack_something_are_one_line(tmp_path: Path) -> None:
    """As those of results that were made before it was recorded."""
    old = {key: RECORD[key] for key in ("commit", "packages")} | {
        "data": {"name": "pairs"},
        "rewards": {"gold": "none"},
    }
    put(tmp_path / "a", points_frame({"a": 1.0}))
    put(tmp_path / "b", points_frame({"b": 1.0}), old)
    put(tmp_path / "c", points_frame({"c": 1.0}), old)
    put(tmp_path / "d", points_frame({"d": 1.0}), None)
    assert compare(load_runs([tmp_path])).warnings == [
        "not told by run.yaml, so differences in it are not seen: b, c (held-out prompts, decoding, base models); "
        "d (nothing at all)"
    ]
    assert compare(load_runs([tmp_path / "b"])).warnings == []


def test_prompts_of_each_seeds_own_are_compared_where_both_have_the_seed(tmp_path: Path) -> None:
    for name, prompts in (
        ("a", {"number": 8, "content of seed 0": "x"}),
        ("b", {"number": 8, "content of seed 1": "y"}),
        ("c", {"number": 8, "content of seed 1": "z"}),
    ):
        put(tmp_path / name, points_frame({name: 1.0}), RECORD | {"prompts": prompts})
    assert compare(load_runs([tmp_path / "a", tmp_path / "b"])).warnings == []
    assert len(compare(load_runs([tmp_path])).warnings) == 1


def regret_frame(points: pd.DataFrame) -> pd.DataFrame:
    return metrics_frame(points, None, regret=np.arange(len(points), dtype=float))


def test_differences_to_a_baseline_are_paired_by_seed(tmp_path: Path) -> None:
    frame = points_frame({"a": 1.0, "b": 0.9})
    # What a seed gives to both methods alike.
    for seed, shift in ((0, 0.0), (1, 0.5), (2, 1.0)):
        frame.loc[frame.seed == seed, ["gold_helpful", "gold_harmless"]] += shift
    put(tmp_path, frame)
    METRICS.write(regret_frame(frame), tmp_path / "metrics.csv")
    b, a = sorted(
        compare(load_runs([tmp_path]), baseline="a").entries, key=lambda entry: entry.method, reverse=True
    )
    assert (a.difference, a.pairs) == (None, None)
    expected = estimate({seed: b.volumes[seed] - a.volumes[seed] for seed in (0, 1, 2)})
    assert (b.difference, b.pairs) == (expected, 3)
    assert b.regret is not None
    regrets = metrics_of(tmp_path)
    assert b.regret == estimate(regrets["b"])
    assert b.regret_difference == estimate({s: regrets["b"][s] - regrets["a"][s] for s in regrets["a"]})
    with pytest.raises(UserError, match="--baseline c: no such method; there are a, b"):
        compare(load_runs([tmp_path]), baseline="c")


def metrics_of(folder: Path) -> dict[str, dict[int, float]]:
    frame = METRICS.read(folder / "metrics.csv")
    gold = frame[frame["space"] == "gold"]
    return {
        str(method): dict(zip(rows["seed"].tolist(), rows["mean_regret"].tolist(), strict=True))
        for method, rows in gold.groupby("method")
    }


def test_a_baseline_of_another_run(tmp_path: Path) -> None:
    put(tmp_path / "x", points_frame({"a": 1.0}, seeds=(0, 1)))
    put(tmp_path / "y", points_frame({"b": 0.9}, seeds=(1, 2)))
    result = compare(load_runs([tmp_path]), baseline="a")
    assert result.entries[1].pairs == 1
    assert result.warnings == ["y: b: 1 of its 2 seeds are paired; the baseline lacks the others"]
    put(tmp_path / "z", points_frame({"a": 1.0}))
    with pytest.raises(UserError, match="y has none of its own, and there are several: x, z"):
        compare(load_runs([tmp_path]), baseline="a")


def test_seeds_of_several_machines_are_one_run(tmp_path: Path) -> None:
    whole = points_frame({"a": 1.0})
    put(tmp_path / "all", whole)
    for seed in (0, 1, 2):
        part = whole[whole.seed == seed]
        put(tmp_path / f"m{seed}", part)
        METRICS.write(regret_frame(part), tmp_path / f"m{seed}" / "metrics.csv")
    parts = [tmp_path / f"m{seed}" for seed in (0, 1, 2)]
    (run,) = merged(load_runs(parts))
    assert run.name == "m0 + m1 + m2"
    (entry,) = compare([run]).entries
    (expected,) = compare(load_runs([tmp_path / "all"])).entries
    assert entry.volumes == expected.volumes
    assert set(entry.regrets) == {0, 1, 2}
    with pytest.raises(UserError, match="--merge: seed 0 of a is in all and in m0"):
        merged(load_runs([tmp_path / "all", *parts]))
    put(parts[1], whole[whole.seed == 1], RECORD | {"prompts": {"number": 64, "content": "b2"}})
    with pytest.raises(UserError, match="--merge: held-out prompts differ"):
        merged(load_runs(parts))
    # Another commit is told, and no reason to keep them apart; nor is another artefact, which stays one by itself.
    put(parts[1], whole[whole.seed == 1], RECORD | {"commit": {"id": "abc", "dirty": False}})
    put(tmp_path / "other", whole.assign(artefact="figure5"))
    runs = merged(load_runs([*parts, tmp_path / "other"]))
    assert [len(run.members) for run in runs] == [3, 0]
    assert [warning[:15] for warning in compare(runs).warnings] == ["commits differ:"]


def test_files_of_another_form(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text("algo,run,help,safe,w\nx,0,1,2,.5\nx,1,2,1,.5\ny,0,0,0,1\n")
    words = "method=algo,seed=run,reward_helpful=help,reward_harmless=safe"
    put(tmp_path / "ours", points_frame({"a": 1.0}))
    runs = load_runs([tmp_path / "ours", file], parse_columns(words))
    entries = compare(runs).entries
    assert [(entry.method, sorted(entry.front)) for entry in entries[1:]] == [("x", [0, 1]), ("y", [0])]
    assert entries[1].front[0].tolist() == [[1, 2]]
    with pytest.raises(UserError, match=r"theirs\.csv: not a points\.csv; say by --columns"):
        load_runs([file])
    with pytest.raises(UserError, match="no column 'sure'; it has algo, run, help, safe, w"):
        load_runs([file], parse_columns("reward_helpful=sure"))
    with pytest.raises(UserError, match=r"theirs.csv: column 'reward_helpful', row 1 is 'x'"):
        load_runs([file], parse_columns("reward_helpful=algo"))
    with pytest.raises(UserError, match="off the simplex"):
        load_runs([file], parse_columns(f"{words},lambda_helpful=w,lambda_harmless=w"))
    for wrong in ("metod=algo", "method", "method=algo", "reward_=x", ""):
        with pytest.raises(UserError, match="--columns"):
            parse_columns(wrong)


def test_formats(tmp_path: Path) -> None:
    frame = points_frame({"a_b": 1.0, "c|d": 0.5}, noise=0)
    put(tmp_path, frame)
    METRICS.write(regret_frame(frame), tmp_path / "metrics.csv")
    found = compare(load_runs([tmp_path]), baseline="a_b")
    markdown = as_markdown(found)
    assert "intervals of 95%, Student's t over seeds; differences to a_b, paired by seed" in markdown
    assert r"c\|d" in markdown
    assert [line.count(" |") for line in markdown.splitlines()[2:]] == [11] * 4
    latex = as_latex(found)
    assert r"a\_b" in latex
    assert r"\#2" in latex
    assert latex.count(r"\\") == 3
    table = pd.read_csv(StringIO(as_csv(found)))
    assert table["hypervolume"].tolist() == [entry.hypervolume.value for entry in found.entries]
    assert table["dominates"].tolist()[0] == 2
    content = json.loads(as_json(found))
    assert (content["level"], content["interval"]) == (0.95, "Student's t over seeds")
    assert content["rows"][0]["dominates"] == [2]
    assert content["rows"][0]["hypervolume_difference"] is None
    assert content["rows"][1]["hypervolume_difference"] == found.entries[1].difference.value


def test_points_that_are_all_alike_in_an_objective_are_one_warning(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name, points_frame({name: 1.0}).assign(gold_harmless=0.5))
    found = compare(load_runs([tmp_path]))
    said = "all points have the same harmless, so"
    assert found.warnings == [f"{said} hypervolumes tell them apart by the others alone"]
    assert all(entry.hypervolume.value > 0 for entry in found.entries)
    found = compare(load_runs([tmp_path]), reference=[-10.0, 0.5])
    assert found.warnings == [f"{said} all hypervolumes are 0"]
    assert {entry.hypervolume.value for entry in found.entries} == {0.0}


def test_different_scales_are_a_warning(tmp_path: Path) -> None:
    put(tmp_path / "a", points_frame({"a": 1.0}))
    put(tmp_path / "b", points_frame({"b": 1.0}).assign(scale="full"))
    assert compare(load_runs([tmp_path])).warnings == ["scales differ: full, tiny"]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        load_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"no points\.csv in it"):
        load_runs([tmp_path])


def test_the_picture_tells_runs_with_equal_methods_apart(tmp_path: Path) -> None:
    runs = [
        Run(name, tmp_path, POINTS.check(frame, name))
        for name, frame in (("a", points_frame({"ham": 1.0})), ("b", heads_frame()))
    ]
    labels = [text.get_text() for text in comparison_figure(runs, "gold").legends[0].get_texts()]
    assert labels[:2] == ["a: ham", "b: ham"]


def test_formulas_of_foreign_results_are_text_in_csv(tmp_path: Path) -> None:
    frame = points_frame({"=HYPERLINK(1)": 1.0, "-dps": 0.5})
    written = pd.read_csv(StringIO(as_csv(compare(load_runs([put(tmp_path / "a" / "tiny", frame)])))))
    assert written["method"].tolist() == ["'=HYPERLINK(1)", "'-dps"]
    assert written["hypervolume"].dtype == np.float64


def test_a_link_out_of_a_folder_of_results_is_not_followed(tmp_path: Path) -> None:
    inside = put(tmp_path / "results" / "a" / "tiny", points_frame({"dps": 1.0}))
    (tmp_path / "results" / "b").symlink_to(inside.parent)
    assert len(load_runs([tmp_path / "results"])) == 1
    (tmp_path / "secret").write_text("key: 7\n")
    (inside / "metrics.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"metrics.csv: a link out of .*results, which is not followed"):
        load_runs([tmp_path / "results"])


def test_metrics_without_a_row_are_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, points_frame({"dps": 1.0}))
    METRICS.write(
        metrics_frame(pd.read_csv(folder / "points.csv", keep_default_na=False, na_values=[""])),
        folder / "metrics.csv",
    )
    load_runs([folder])
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    (folder / "metrics.csv").write_text(header + "\n")
    with pytest.raises(UserError, match=r"metrics.csv: no rows; allowed is one per method, seed and space"):
        load_runs([folder])
