"""The benchmark of large models at its smallest size, on the CPU: what will run on the day that a GPU is there."""

import json
from collections import Counter

import pandas as pd
import pytest

from benchmarks import gpu_7b, gpu_cases, gpu_measure
from lightning_moa.errors import UserError

CHOICES = dict(
    size="tiny",
    accelerator="cpu",
    methods=list(gpu_cases.METHODS),
    models=[],
    precisions=["fp32", "bf16", "int8"],
    strategies=["single"],
    rows=None,
    steps=1,
    warm_up=0,
    seconds=60.0,
)


def cases(**other):
    return gpu_cases.cases_of(**{**CHOICES, **other})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder for each model."""
    folder = tmp_path_factory.mktemp("weights")
    for model in gpu_cases.MODELS:
        gpu_measure.make_weights(model, "tiny", "cpu", folder / model)
    return folder


@pytest.mark.parametrize("method", gpu_cases.METHODS)
def test_each_method_is_measured_at_each_precision(method, weights):
    chosen = cases(methods=[method])
    assert [case.precision for case in chosen] == ["fp32", "bf16", "int8"]
    for case in chosen:
        found = gpu_measure.measure(case, weights / case.model)
        assert found["steps"] == 1
        assert found["step_s"] == found["step_min_s"] > 0
        assert found["trained"] > 0
        # Nothing ends a response early, so that the plan's tokens are those that were sampled.
        sampled = [] if pd.isna(found["sampled_tokens"]) else [found["sampled_tokens"]]
        assert sampled == ([16.0] if method in ("gapo", "panacea_ppo") else [])
    plan = gpu_cases.planned(case, weights / case.model, "h100")
    # Two responses a pair; PTX has as many rows again.
    rows = {"panacea_dpo": 8, "panacea_ppo": 8}.get(method, 4)
    assert plan["tokens_per_step"] == rows * 32
    assert plan["plan_gib"] > plan["plan_weights_gib"] > 0
    assert plan["full_speed_s"] * 989 >= 0.99 * plan["tflop_per_step"] > 0


def test_rows_are_as_long_as_the_settings_allow(weights):
    spec = dict(gpu_cases.task_of(cases(methods=["panacea_dpo"])[0], weights / "llama").spec)
    tokenizer = gpu_measure.words(512)
    data = gpu_measure.LongestRows(spec, 4, len(tokenizer))
    pairs = next(data.batches(tokenizer, "train", "pairs", 4))
    assert pairs.input_ids.shape == (8, 32)
    assert pairs.attention_mask.sum(1).tolist() == 2 * [18, 32, 32, 32]
    assert pairs.response_mask.sum(1).tolist() == 8 * [16]
    prompts = next(data.batches(tokenizer, "train", "prompts", 4))
    assert prompts.attention_mask.sum(1).tolist() == [2, 16, 16, 16]
    assert set(pairs.labels.flatten().tolist()) == {0.0, 1.0}
    first, second = data.gold_rewards().values()
    assert first([""], ["w4 w5 w6 w7"]).tolist() == [0.5]
    assert second([""], ["w4 w5 w6 w7"]).tolist() == [0.25]


def test_the_papers_rows_and_lengths_come_first_at_one_precision_on_one_device():
    order = cases(
        size="7b",
        accelerator="gpu",
        precisions=["bf16", "int8"],
        strategies=["single", "deepspeed_3", "deepspeed_2"],
    )
    first = order[:4]
    assert {(case.precision, case.strategy) for case in first} == {("bf16", "single")}
    assert {case.method: (case.model, case.rows) for case in first} == {
        "panacea_dpo": ("llama", 16),
        "gapo": ("mistral", 16),
        "ham": ("opt", 8),
        "panacea_ppo": ("llama", 16),
    }
    counts = Counter((case.precision, case.strategy) for case in order)
    assert counts["int8", "deepspeed_2"] == counts["bf16", "deepspeed_3"] == 4
    # Which no study accepts.
    assert counts["int8", "deepspeed_3"] == 0
    lengths = {case.method: gpu_cases.config_of(case).data.max_length for case in first}
    assert set(lengths.values()) == {512}
    assert len({tuple(sorted(case.identity.items())) for case in order}) == len(order)


def test_results_are_written_case_by_case_and_not_measured_again(tmp_path, monkeypatch, capsys):
    def start(method, precision, strategy, *more):
        words = ["--size", "tiny", "--folder", str(tmp_path), "--steps", "1", "--warm-up", "1"]
        words += ["--methods", method, "--precisions", precision, "--strategies", strategy, *more]
        return gpu_7b.started(words)

    # A case that fails is a row, too, and does not keep others from being measured.
    assert start("gapo", "int8", "single", "--seconds", "0.05")["error"].tolist() == ["not done in 0.05 s"]
    frame = start("panacea_dpo", "fp32", "deepspeed_3")
    written = pd.read_csv(tmp_path / "gpu_tiny.csv")
    assert list(written) == list(gpu_7b.COLUMNS)
    assert written["method"].tolist() == ["gapo", "panacea_dpo"]
    failed, row = written.to_dict("records")
    assert pd.isna(failed["step_s"])
    assert failed["plan_gib"] > 0
    assert failed["rewards"] == gpu_7b.WITHOUT
    assert pd.isna(row["error"])
    assert row["tokens_per_s"] == pytest.approx(row["tokens_per_step"] / row["step_s"])
    assert row["times_plan"] == pytest.approx(row["peak_gib"] / row["plan_gib"])
    # A CPU has no peak that is known here.
    assert pd.isna(row["flops_utilisation"])
    assert pd.isna(row["plan_utilisation"])

    def refuse(*given):
        raise AssertionError("a case was started")

    monkeypatch.setattr(gpu_7b.Bench, "_child", refuse)
    before = (tmp_path / "gpu_tiny.csv").read_bytes()
    again = start("panacea_dpo", "fp32", "deepspeed_3")
    assert again["step_s"].tolist() == pytest.approx(frame["step_s"].tolist(), nan_ok=True)
    capsys.readouterr()
    start("panacea_dpo", "fp32", "deepspeed_3", "--fresh", "--budget", "10")
    assert "1 cases stay unmeasured" in capsys.readouterr().out
    assert (tmp_path / "gpu_tiny.csv").read_bytes() == before
    with pytest.raises(AssertionError, match="started"):
        start("panacea_dpo", "fp32", "deepspeed_3", "--fresh")


def test_what_goes_wrong_in_a_case_is_its_error(tmp_path):
    (case,) = cases(methods=["ham"], precisions=["fp32"])
    order, result = tmp_path / "order.json", tmp_path / "result.json"
    order.write_text(json.dumps({"what": "case", "case": vars(case), "folder": str(tmp_path / "none")}))
    with pytest.raises(UserError):
        gpu_measure.main(order, result)
    assert json.loads(result.read_text())["error"].startswith("UserError: model path ")
    assert gpu_measure.first_line(MemoryError("all of it\nhere")) == "MemoryError: all of it"


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_devices_are_known_by_their_names(device, name):
    assert gpu_7b.named(device) == name
