"""The benchmarks at their smallest size: they run, check themselves, and write what they print."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import (
    dpo_step,
    gapo_step,
    generation,
    grid_evaluation,
    heads_memory,
    heads_step,
    hypervolume,
    measuring,
    ppo_step,
    step_cases,
    step_scaling,
)
from lightning_moa.aggregation import MGDA
from lightning_moa.policies import Heads, build_model
from tests.methods.fitting import sgd, state


def test_the_grid_in_one_pass_equals_one_by_one_and_is_written(tmp_path):
    frame = grid_evaluation.main([2], trials=1, folder=tmp_path)
    (row,) = frame.to_dict("records")
    assert row["preferences"] == 11
    assert row["times_faster"] == pytest.approx(row["one_by_one_s"] / row["batched_s"])
    # Far below what is measured, so that a busy machine does not fail it.
    assert row["times_faster"] > 1.5
    written = pd.read_csv(tmp_path / "grid_evaluation.csv")
    assert written["batched_s"].tolist() == pytest.approx(frame["batched_s"].tolist())
    assert {"cpu", "cores", "threads", "torch", "commit"} <= set(written)
    assert set(written["commit"].fillna("")) == {measuring.commit()}


def test_the_commit_that_is_measured_is_named(monkeypatch):
    for found, named in (
        ({"id": "ab12", "dirty": False}, "ab12"),
        ({"id": "ab12", "dirty": True}, "ab12, changed"),
        ({"id": None, "dirty": None}, ""),
    ):
        monkeypatch.setattr(measuring, "git_commit", lambda found=found: found)
        assert measuring.commit() == named


def test_a_difference_between_the_two_ways_is_noticed():
    frame = pd.DataFrame({"prompt_index": [0, 0], "response": ["a", "b"], "log_ratio": [0.0, 1.0]})
    grid_evaluation.check_equal(frame, frame)
    for changed in (frame.assign(response=["a", "c"]), frame.assign(log_ratio=[0.0, 1.1])):
        with pytest.raises(AssertionError):
            grid_evaluation.check_equal(frame, changed)
    same = frame.assign(response="a")
    with pytest.raises(AssertionError, match="no difference"):
        grid_evaluation.check_equal(same, same)


def test_the_parts_of_a_ppo_step(tmp_path):
    times, memory = ppo_step.main(8, [(16, 1)], trials=1, folder=tmp_path)
    assert times["part"].tolist() == ["generate", "log-probs", "reference", "scoring", "update", "whole step"]
    assert (times["seconds"] > 0).all()
    shared, copied = memory["weights_mib"]
    assert copied == 2 * shared > 0
    assert {path.name for path in tmp_path.iterdir()} == {"ppo_step.csv", "ppo_memory.csv"}


def test_a_step_of_dpo_is_compared_with_trls(tmp_path):
    pytest.importorskip("trl")
    tokenizer = measuring.synthetic(2).world_tokenizer()
    build_model("llama", tokenizer=tokenizer, hidden_size=16, layers=1).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    frame = dpo_step.main(str(tmp_path / "model"), 2, 1, tmp_path, ((3, 5), (4, 8)))
    assert frame["of_trl"].tolist()[0] == 1 < len(frame)
    assert (frame["seconds"] > 0).all()
    assert pd.read_csv(tmp_path / "dpo_step.csv")["way"].tolist() == frame["way"].tolist()


def test_sampling_is_compared_with_transformers(tmp_path):
    tokenizer = measuring.synthetic(2).world_tokenizer()
    build_model("llama", tokenizer=tokenizer, hidden_size=16, layers=1).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    frame = generation.main(str(tmp_path / "model"), 2, 3, 1, tmp_path, width=4)
    assert frame["of_model_alone"].tolist()[0] == 1 == frame["of_peft"].tolist()[1]
    assert (frame["seconds"] > 0).all()
    assert pd.read_csv(tmp_path / "generation.csv")["way"].tolist() == frame["way"].tolist()
    for way in (generation.theirs, generation.ours):
        ids = torch.full((2, 4), 3)
        more = () if way is generation.theirs else (torch.tensor([0.5, 0.5]),)
        found = way(generation.endless(tmp_path / "model"), ids, 3, *more)()
        if way is generation.ours:
            assert found.mask.all(), "all rows take all steps"
        else:
            assert found.shape == (2, 7)


def test_the_memory_of_several_heads(tmp_path):
    size = heads_memory.Size(tokens=256, vocabulary=20_000, hidden=16)
    frame = heads_memory.main([1, 4], size, tmp_path, [(heads_memory.CHUNKED, None)])
    assert frame["gradients_mib"].tolist() == pytest.approx([1.22, 4.88], abs=0.01)
    # Logits of all heads at once would make it three times and more.
    assert frame["times_first"].tolist()[1] < 1.5
    assert [path.name for path in tmp_path.iterdir()] == ["heads_memory.csv"]


def test_both_ways_of_several_heads_are_one_step():
    size = heads_memory.Size(tokens=40, vocabulary=50, hidden=16)
    gradients = []
    for way in (heads_memory.CHUNKED, heads_memory.AT_ONCE):
        policy = Heads(build_model("opt", vocab_size=50, hidden_size=16), 3, 2, jitter=0.1, seed=0)
        heads_memory.step(policy, heads_memory.batch(size, 10), way)
        gradients.append([p.grad for p in policy.trainable_parameters()])
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


def test_a_step_of_several_heads(tmp_path):
    size = heads_memory.Size(tokens=256, vocabulary=20_000, hidden=64)
    frame = heads_step.main([1, 4], size, 3, tmp_path)
    assert frame["head_rank"].tolist() == ["full"] * 2 + [16] * 2
    times = frame["times_first"].tolist()
    assert times[::2] == [1, 1]
    # The product with the model's own head, most of the work, is formed once for all low-rank heads.
    assert times[3] < times[1]


def test_the_hypervolumes_of_three_ways(tmp_path):
    frame = hypervolume.main([(5, 2), (13, 3)], trials=1, folder=tmp_path)
    assert frame["points"].tolist() == ["front", "random"] * 2
    # Above a dozen policies there are too many subsets to time.
    assert frame["subsets_s"].notna().tolist() == [True, True, False, False]
    assert (frame["times_botorch"] == frame["botorch_s"] / frame["exact_s"]).all()
    assert (frame["exact_s"] > 0).all()
    assert len(pd.read_csv(tmp_path / "hypervolume.csv")) == 4


def test_a_difference_between_hypervolumes_is_noticed():
    values = hypervolume.values_of("random", 4, 2)
    same = hypervolume.step(hypervolume.botorch_volume, values)
    hypervolume.check_equal(same, same)
    for changed in ((same[0] + 1e-6, same[1]), (same[0], torch.zeros_like(same[1]))):
        with pytest.raises(AssertionError):
            hypervolume.check_equal(same, changed)


def test_a_step_of_gapo_is_compared_with_ppos_and_with_torchjds(tmp_path):
    frame = gapo_step.main([2, 5], [(16, 1)], prompts=8, updates=1, trials=1, folder=tmp_path)
    assert len(frame) == 2 * (1 + 3 + 2)
    single = frame[frame["way"] == gapo_step.SINGLE].set_index("objectives")["seconds"]
    ratios = frame["seconds"] / frame["objectives"].map(single)
    assert frame["times_single"].tolist() == pytest.approx(ratios.tolist())
    assert set(frame[frame["way"] == gapo_step.OURS]["probe"]) == {"last_layer", "all", "activations"}
    assert (frame["step_rise_mib"] >= 0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["gapo_step.csv"]


def test_torchjds_step_is_the_step_of_mgda(monkeypatch):
    """The peer is a peer: its update is ours, when ours aggregates as it does."""
    monkeypatch.setattr(gapo_step, "adam", sgd(lr=1.0))
    bench = gapo_step.Bench(prompts=8, hidden=16, layers=1, updates=1)
    start = state(bench.policy())
    moved = []
    for make in (bench.step, lambda method: bench.torchjds(method, 1)):
        method = bench.method(2, "all")
        method.aggregator = MGDA()
        make(method)()
        moved.append(state(method.policy) - start)
    assert moved[0].norm() > 1e-3
    torch.testing.assert_close(moved[1], moved[0], rtol=1e-3, atol=1e-6)


SMALL = step_cases.Size(
    widths=(16, 32),
    objectives=(2, 3),
    heads=(1, 3),
    width=16,
    layers=1,
    rows=4,
    length=16,
    vocabulary=260,
    vocabulary_of_heads=300,
)


def test_a_steps_growth_is_set_beside_the_plans_and_other_axes_rows_stay(tmp_path):
    folder, columns = tmp_path / "results", ["method", "value", "ratio", "foretold"]
    folder.mkdir()
    whole = step_scaling.main(["width", "objectives", "heads"], 1, folder, None, SMALL)
    assert (whole["seconds"] > 0).all()
    assert whole.groupby("method", sort=False)["value"].agg(list).tolist() == [
        [16, 32, 2, 3],
        *([16, 32], [2, 3], [2, 3], [1, 3], [1, 3]),
    ]
    first = whole[whole["value"] == whole.groupby(["axis", "method"])["value"].transform("min")]
    assert (first[["ratio", "foretold"]] == 1).all(axis=None)
    # The gradients of one more objective are counted, and only GAPO takes them apart.
    more = whole[whole["axis"] == "objectives"].set_index(["method", "value"])["foretold"]
    assert more["GAPO, DPO, all", 3] > 1.2 > 1.1 > more[step_cases.DPO, 3] > 1
    again = step_scaling.main(["processes"], 1, folder, None, SMALL)
    assert again["foretold"].tolist() == [1, 0.5]
    assert (again["wall_seconds"] >= again["seconds"] / 2).all()
    written = pd.read_csv(folder / "step_scaling.csv")
    assert written[columns].equals(pd.concat([whole, again])[columns].reset_index(drop=True))
    assert len(step_scaling.report("step_scaling", again.to_dict("records"), folder, part="axis")) == 2
    assert len(pd.read_csv(folder / "step_scaling.csv")) == len(whole) + 2


def test_rows_that_are_timed_are_those_that_the_plan_counts(tmp_path):
    tokenizer = measuring.synthetic(2).world_tokenizer()
    build_model("llama", tokenizer=tokenizer, hidden_size=16, layers=2).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    *_, case = step_cases.cases_of("width", SMALL, ("own", tmp_path / "model"))
    assert (case.value, case.model) == (16, "own")
    task = step_cases.task_of(case, SMALL, tmp_path)
    found = step_cases.forecast(task)
    method, rows = step_cases.assembled(task, tmp_path)
    batch = next(iter(rows.train_dataloader()))
    assert batch.input_ids.numel() == found.tokens / found.steps == 2 * 4 * 16
    assert sum(each.numel() for each in method.policy.trainable_parameters()) == found.trained
    assert method.policy.model.config.num_hidden_layers == 2


@pytest.mark.parametrize("kind", step_cases.RANKS)
def test_the_plan_counts_the_operations_of_heads_that_torch_counts(tmp_path, kind):
    """Each head meets the responses' tokens alone, here half of all."""
    size = step_scaling.Size(heads=(8,), layers=2, vocabulary_of_heads=2048)
    (case,) = (each for each in step_cases.cases_of("heads", size, None) if each.method == kind)
    task = step_cases.task_of(case, size, tmp_path)
    method, rows = step_cases.assembled(task, tmp_path)
    step = measuring.training_step(method, next(iter(rows.train_dataloader())))
    with FlopCounterMode(display=False) as counter:
        step()
    assert counter.get_total_flops() / 1e9 == pytest.approx(step_cases.gflop(task), rel=0.1)


def test_slopes_are_of_the_last_values_and_of_models_made_here():
    values = np.array([1, 2, 4, 8, 8])
    models = [step_cases.BUILT] * 4 + ["another"]
    series = pd.DataFrame({"value": values, "model": models, "seconds": values**2.0, "gflop": values**3.0})
    series.loc[0, "seconds"] = series.loc[4, "seconds"] = 100.0
    found = step_scaling.compared(series)
    assert found["ratio"].tolist() == pytest.approx([1, 0.04, 0.16, 0.64, 1])
    assert found["foretold"].tolist() == [1, 8, 64, 512, 512]
    assert found["slope"].tolist() == pytest.approx([2] * 5)
    assert found["foretold_slope"].tolist() == pytest.approx([3] * 5)
