"""Forecasts of whole studies: what hand arithmetic says, what must not change them, and every script's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_moa.config import parse
from lightning_moa.errors import UserError
from lightning_moa.forecast import passes
from lightning_moa.forecast.architectures import meta_model, published_config
from lightning_moa.forecast.memory import GIB, peak, total
from lightning_moa.forecast.plan import stand_in
from lightning_moa.forecast.rows import forecast, kind_of, rows_of
from lightning_moa.methods.products import DPS_PPO, PANACEA_PPO
from lightning_moa.policies import SVDLoRA
from lightning_moa.study.artefacts import studies_of
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import in_order
from tests.declared import EXPERIMENTS, SCRIPTS, study_of

STUDIES = [path for path in SCRIPTS if study_of(path).methods]
OF_THE_WORLD = ("misalignment", "figure_dimensions", "figure_tchebycheff", "figure_worlds")
"""They ask for what the papers' data do not have."""


def study(path, *words):
    return studies_of(EXPERIMENTS / path, ["scale=paper", *words])[0]


def plan(study):
    stand_in(study)
    _, config, methods = study
    return plan_study(config, methods)


def of(path, kind, *words):
    tasks = in_order(plan(study(path, *words)).targets())
    return forecast(next(task for task in tasks if kind_of(task) == kind))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_script_is_foretold_at_the_papers_scale(path):
    if path.stem in OF_THE_WORLD:
        # What the script itself would say.
        with pytest.raises(
            UserError,
            match=r"its best policies are not known|3 or more are needed|(is|has) no world",
        ):
            studies_of(path, ["scale=paper"])
        studies = studies_of(path, ["hardware.precision=bf16"])
        assert any(row.name.startswith("panacea") for each in studies for row in rows_of(plan(each)))
        return
    known: set[str] = set()
    # What is no paper's has no such scale; the last of its studies has all of its methods.
    papers = (study_of(path).folder / "paper.yaml").is_file()
    studies = studies_of(path, ["scale=paper"]) if papers else studies_of(path, [])[-1:]
    for each in studies:
        for row in rows_of(plan(each), None, known):
            assert row.count > 0
            name, kinds = peak(row.forecast.phases)
            assert all(size >= 0 for size in kinds.values()), (row.name, name)
            assert total(kinds) > (GIB if papers else 0)


def test_alike_runs_are_one_row_with_their_number():
    counts = {row.name: row.count for row in rows_of(plan(study("panacea/figure5.py")))}
    assert counts["dps"] == 11
    assert counts["rewarded_soups"] == 2
    assert counts["panacea_ls"] == counts["reward model"] == counts["measure dps"] == 1
    seeds = {row.name: row.count for row in rows_of(plan(study("panacea/figure5.py", "seeds=[1,2]")))}
    assert seeds["dps"] == 22


def test_parameters_are_those_of_the_real_policy():
    found = of("panacea/figure5.py", "panacea_ls")
    base = meta_model(published_config("PKU-Alignment/alpaca-7b-reproduced"), "bf16")
    numbers = sum(each.numel() for each in base.parameters())
    policy = SVDLoRA(base, 8, 2, targets="layers.", seed=0)
    assert found.frozen == numbers == 6_738_423_808
    assert found.trained == sum(each.numel() for each in policy.trainable_parameters())
    weights = {name: phase["weights"] for name, phase in found.phases.items()}
    assert set(weights.values()) == {2.0 * numbers}


def test_steps_and_tokens_of_the_papers_dpo():
    found = of("panacea/figure5.py", "dps")
    assert found.steps == -(-73_907 // 128)
    assert found.tokens == found.steps * 2 * 128 * 512
    assert found.rows == 16


@pytest.mark.parametrize(
    ("path", "kind", "layers"),
    [
        ("ham/figure3.py", "ham", 24),
        ("gapo/table_main.py", "mgda", 32),
    ],
)
def test_few_layers_and_heads_stand_for_all(path, kind, layers, monkeypatch):
    task = next(task for task in in_order(plan(study(path)).targets()) if kind_of(task) == kind)
    short = passes.update(task.spec, 2)
    monkeypatch.setattr(passes, "FEW", (layers, layers))
    passes._remembered.cache_clear()
    assert passes.update(task.spec, 2) == pytest.approx(short, rel=1e-6)


def test_what_costs_more_is_foretold_to():
    plain = of("panacea/figure5.py", "panacea_ls")

    def peak_of(*words):
        return total(peak(of("panacea/figure5.py", "panacea_ls", *words).phases)[1])

    here = total(peak(plain.phases)[1])
    assert peak_of("model.gradient_checkpointing=false") > here + 20 * GIB
    assert peak_of("hardware.precision=int8") < here - 5 * GIB
    assert peak_of("hardware.precision=nf4") < peak_of("hardware.precision=int8") - 2 * GIB
    assert peak_of("dpo.batch_size=256") > here
    assert peak_of("dpo.accumulate=2") < here
    faster = of("panacea/figure5.py", "panacea_ls", "model.gradient_checkpointing=false")
    assert faster.work.flops < plain.work.flops


def test_zero_3_shares_out_the_base_and_offload_puts_it_into_the_machines_memory():
    shared = of("panacea/figure5.py", "dps", "hardware.strategy=deepspeed_3")
    whole = of("panacea/figure5.py", "dps")
    assert shared.phases["forward"]["weights"] == whole.phases["forward"]["weights"] / 8
    assert shared.phases["loading"]["weights"] == whole.phases["forward"]["weights"]
    gone = of("panacea/figure5.py", "dps", "hardware.strategy=deepspeed_3_offload")
    assert gone.phases["forward"]["weights"] == 0
    assert gone.host > 0 == shared.host


def test_ppo_holds_its_reward_models_in_every_phase():
    found = of("panacea/figure4.py", "panacea")
    both = 2.0 * (6_607_347_712 + 4097 + 6_607_347_712 + 2 * 4096)
    assert {phase["reward_models"] for phase in found.phases.values()} == {both}
    # Prompts of up to 384 tokens in a batch with others that may be answered in 384.
    assert found.phases["sampling"]["kv_cache"] == 16 * (384 + 384) * 512 * 1024 * 33 / 32
    assert found.phases["forward"]["rollout"] > found.phases["sampling"]["rollout"] > 0


def test_largest_batch_fits_and_one_more_does_not(tmp_path):
    (tmp_path / "tiny.yaml").write_text("hardware: {accelerator: gpu}\nseeds: [0]")
    methods = {"panacea": PANACEA_PPO}
    config = parse(schema_of(methods), ["ppo.steps=10", "model.hidden_size=256"], tmp_path)
    row = next(row for row in rows_of(plan_study(config, methods)) if row.name == "panacea")
    size = 4 * GIB
    most = row.largest_batch(size)

    def at(rows):
        own = replace(config, ppo=replace(config.ppo, batch_size=rows))
        (task,) = plan_study(own, methods).seeds[0].policies["panacea"]
        return total(peak(forecast(task).phases)[1])

    assert at(most) <= size * 1.001
    assert at(most + max(2, most // 100)) > size


def test_names_that_change_nothing_are_foretold_once(monkeypatch):
    calls = []
    real = forecast
    monkeypatch.setattr("lightning_moa.forecast.rows.forecast", lambda *a: calls.append(a) or real(*a))
    _, config, _ = study("panacea/figure4.py", "data.max_length=500", "ppo.ptx=0")
    rows_of(plan_study(replace(config, seeds=[1, 2], methods={}), {"a": DPS_PPO, "b": DPS_PPO}))
    policies = [task for task, *_ in calls if task.function.endswith(":align")]
    assert len(policies) == 1


def test_rows_of_a_file_are_counted_and_unknown_ones_asked_for(tmp_path, monkeypatch):
    line = '{"prompt": "p%d", "response_0": "b", "response_1": "c", "x": 0, "y": 1}\n'
    (tmp_path / "pairs.jsonl").write_text("".join(line % i for i in range(30)))
    own = ["data=pairs", f"data.path={tmp_path}/pairs.jsonl", "data.labels.x=x", "data.labels.y=y"]
    planned = plan(study("panacea/figure5.py", *own))
    counted = {row.name: row.forecast.steps for row in rows_of(planned)}
    steps = {row.name: row.forecast.steps for row in rows_of(planned, 1280)}
    assert counted["panacea_ls"] < steps["panacea_ls"] == 10
    operations = {row.name: row.forecast.work.flops for row in rows_of(planned)}
    assert operations["reference log-probs"] > 0, "they are of the file's rows, too"
    monkeypatch.setattr("lightning_moa.data.sizes.PAIRS", {})
    with pytest.raises(UserError, match="rows=<number>"):
        rows_of(plan(study("panacea/figure5.py", "data=helpsteer2")))


def test_a_reward_model_of_single_responses_reads_half_of_what_one_of_pairs_reads(tmp_path):
    rows = "".join(f'{{"prompt": "p{i}", "response": "b", "x": {i}, "y": -{i}}}\n' for i in range(30))
    (tmp_path / "rows.jsonl").write_text(rows)
    own = ["data=answers", f"data.path={tmp_path}/rows.jsonl", "data.labels.x=x", "data.labels.y=y"]
    methods = {"panacea": PANACEA_PPO}
    (tmp_path / "tiny.yaml").write_text("seeds: [0]\nreward_model: {steps: 10}")
    config = parse(schema_of(methods), own, tmp_path)
    tasks = in_order(plan_study(config, methods).targets())
    (task,) = [each for each in tasks if kind_of(each) == "reward model"]
    pairs = replace(task, spec={**task.spec, "learns": "pairs"})
    alone, both = (forecast(each, rows=100) for each in (task, pairs))
    assert alone.tokens == both.tokens / 2 == 10 * config.reward_model.batch_size * config.data.max_length
    assert alone.phases["forward"]["activations"] < both.phases["forward"]["activations"]


def test_a_reward_model_is_foretold_as_it_is_trained():
    """A LoRA of rank 2 on the seven linear layers of two blocks of width 64 and 128, and an output an objective."""

    def made(*words):
        own = ("scale=tiny", "ppo.reward=trained", "reward_model.rank=2", *words)
        _, config, methods = studies_of(EXPERIMENTS / "panacea" / "figure4.py", own)[0]
        tasks = in_order(plan_study(config, methods).targets())
        return {kind_of(task): forecast(task, rows=100) for task in tasks if ":reward_model" in task.function}

    whole, lora, head = (
        made(f"reward_model.train={kind}")["reward model"] for kind in ("all", "lora", "head")
    )
    outputs = 2 * 64
    assert head.trained == outputs
    assert lora.trained == outputs + 2 * 2 * (4 * (64 + 64) + 3 * (64 + 128))
    assert whole.frozen == 0
    assert whole.trained == head.trained + head.frozen
    assert lora.phases["step"]["optimiser"] < whole.phases["step"]["optimiser"]
    assert lora.work.flops < whole.work.flops
    # Beside a judge, which has the other half of the prompts.
    halves = made("evaluation.judge=trained", "reward_model.train=lora", "reward_model.epochs=2")
    assert halves["reward model"].steps == halves["judge"].steps == -(-2 * 50 // 64)
