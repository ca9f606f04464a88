"""Every kind of policy on bases in 16, 8 and 4 bits, as they are loaded from disk."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, OPTConfig, OPTForCausalLM

from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, SVDLoRA, generate, load_model, load_policy, save_model
from lightning_moa.policies.heads import output_head
from lightning_moa.strategies.quantisation import base_dtype, quantization_config
from tests.policies.models import preferences, shake, tiny, tokens
from tests.policies.precisions import (
    FAMILIES,
    KINDS,
    REDUCED,
    SIZES,
    adapt,
    base_tensors,
    dequantised,
    digest,
    load,
    logps,
    stored_bytes,
    trained_tensors,
    views,
)

QUANTISED = ("int8", "nf4")
# What a base's rounding may move its logits by, relative to their length: 8, 8 and 4 bits of each weight.
ROUNDING = {"bf16": 0.03, "int8": 0.06, "nf4": 0.6}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A saved model of each family."""
    made = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in made.items():
        save_model(tiny(family, **SIZES), folder)
    return made


def train(policy, steps=3, lr=3e-3):
    """The loss of each step."""
    optimiser = torch.optim.AdamW(policy.trainable_parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = -logps(policy).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def logits_of(policy, rows=4):
    """Each of a policy's views, at a preference for each row."""
    with torch.no_grad():
        return torch.stack([view(*tokens(rows), preferences(rows, 2)) for view in views(policy)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", REDUCED)
def test_trains_samples_saves_and_loads(precision, family, kind, folders, tmp_path):
    policy = adapt(kind, load(folders[family], precision))
    base = digest(policy.model)
    first = {name: each.detach().clone() for name, each in trained_tensors(policy).items()}
    losses = train(policy)
    assert losses[-1] < losses[0]
    trained = trained_tensors(policy)
    assert {each.dtype for each in trained.values()} == {torch.float32}
    assert all(each.grad is not None and bool(each.grad.any()) for each in trained.values())
    assert not any(torch.equal(first[name], each) for name, each in trained.items())
    assert digest(policy.model) == base

    ids, mask = tokens()
    for view in views(policy):
        sampled = generate(view, ids, mask, max_new_tokens=3, preference=preferences(4, 2), temperature=0)
        with torch.no_grad():
            likely = view(ids, mask, preferences(4, 2), last=1)[:, 0]
        # The cache's passes are shaped otherwise, so that the likeliest of two near ties may be the other one.
        chosen = likely.gather(1, sampled.tokens[:, :1])[:, 0]
        assert (likely.amax(1) - chosen < 0.03 * likely.abs().amax()).all()
    assert digest(policy.model) == base

    policy.save(tmp_path)
    policy.eval()
    again = load_policy(load(folders[family], precision), tmp_path).eval()
    assert torch.equal(logits_of(again), logits_of(policy))
    full = logits_of(load_policy(load(folders[family], "fp32"), tmp_path).eval())
    assert (logits_of(policy).float() - full).norm() < ROUNDING[precision] * full.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", REDUCED)
@torch.no_grad()
def test_the_reference_is_the_bare_model(precision, kind, folders):
    ids, mask = tokens()
    bare = load(folders["opt"], precision)
    expected = bare(input_ids=ids, attention_mask=mask).logits
    policy = shake(adapt(kind, load(folders["opt"], precision)))
    with policy.reference():
        assert torch.equal(policy(ids, mask), expected)
    assert not torch.equal(views(policy)[0](ids, mask, preferences(4, 2)), expected)
    plain = policy.unload()
    assert torch.equal(plain(input_ids=ids, attention_mask=mask).logits, expected)
    assert digest(plain) == digest(bare)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", QUANTISED)
def test_logits_and_gradients_are_those_of_the_weights_that_the_bits_stand_for(precision, family, folders):
    """The oracle is a float32 model whose weights are written out of the quantised one's."""
    policy = adapt("lora", load(folders[family], precision))
    oracle = load(folders[family], "fp32")
    with torch.no_grad():
        for name, module in policy.model.named_modules():
            if isinstance(module, nn.Linear):
                oracle.get_submodule(name.removesuffix(".base")).weight.copy_(dequantised(module))
    oracle = shake(adapt("lora", oracle), std=0.1)
    shake(policy, std=0.1)
    found, wanted = logits_of(policy).float(), logits_of(oracle)
    assert (found - wanted).norm() < ROUNDING["bf16"] * wanted.norm()
    for each in (policy, oracle):
        logps(each).sum().backward()
    gradients = {name: each.grad for name, each in trained_tensors(oracle).items()}
    for name, each in trained_tensors(policy).items():
        assert torch.cosine_similarity(each.grad.flatten(), gradients[name].flatten(), dim=0) > 0.98, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", REDUCED)
@torch.no_grad()
def test_a_batch_of_preferences_is_each_alone(precision, family, folders):
    policy = shake(SVDLoRA(load(folders[family], precision), 3, 2), std=0.3).eval()
    (ids, mask), rows = tokens(3), torch.tensor([[1.0, 0.0], [0.3, 0.7], [0.0, 1.0]])
    together = policy(ids, mask, rows).float()
    for i in range(3):
        alone = policy(ids[i : i + 1], mask[i : i + 1], rows[i]).float()[0]
        assert (together[i] - alone).norm() < ROUNDING["bf16"] * alone.norm()
    assert (policy(ids, mask, rows[0]).float()[2] - together[2]).norm() > 0.1 * together[2].norm()


@pytest.mark.parametrize("precision", REDUCED)
@torch.no_grad()
def test_training_and_evaluation_mode_are_one_function(precision, folders):
    """Log-ratios compare passes of both; bitsandbytes' own 8-bit layers are two functions on a CPU."""
    policy = shake(adapt("lora", load(folders["llama"], precision)))
    before = digest(policy.model)
    assert torch.equal(logits_of(policy.eval()), logits_of(policy.train()))
    assert digest(policy.model) == before


@pytest.mark.parametrize("kind", ["svd", "full heads"])
@pytest.mark.parametrize("precision", REDUCED)
def test_checkpointing_gives_the_same_gradients_and_frees_the_inputs(precision, kind, folders):
    gradients = []
    for checkpointing in (False, True):
        policy = shake(adapt(kind, load(folders["llama"], precision)), std=0.1)
        if checkpointing:
            policy.enable_gradient_checkpointing()
        seen = []
        inner = policy.model.get_submodule("model.layers.0.mlp.down_proj").base
        inner.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(weakref.ref(inputs[0])))
        loss = logps(policy).sum()
        gc.collect()
        assert (seen[0]() is None) or not checkpointing
        loss.backward()
        assert len(seen) == 1 + checkpointing
        gradients.append({name: each.grad for name, each in trained_tensors(policy).items()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, each in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], each)


@pytest.mark.parametrize("precision", QUANTISED)
def test_several_gradients_of_one_pass(precision, folders):
    """As aggregators take them that look at each objective's."""
    policy = shake(adapt("svd", load(folders["opt"], precision)), std=0.1)
    rows = logps(policy, 2)
    parameters = policy.trainable_parameters()
    first, second = (torch.autograd.grad(row, parameters, retain_graph=True) for row in rows)
    rows.sum().backward()
    for parameter, one, other in zip(parameters, first, second, strict=True):
        torch.testing.assert_close(parameter.grad, one + other, atol=1e-2, rtol=5e-2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", QUANTISED)
def test_loading_quantises_all_linear_layers_but_the_output_head(precision, family, folders):
    model = load(folders[family], precision)
    place, head = output_head(model)
    kinds = {name: each.weight.dtype for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    assert head.weight.dtype == kinds.pop(place) == torch.bfloat16
    assert set(kinds.values()) == {torch.int8 if precision == "int8" else torch.uint8}
    assert {each.dtype for each in model.parameters() if each.is_floating_point()} == {torch.bfloat16}


@pytest.mark.parametrize("precision", QUANTISED)
def test_moving_neither_raises_nor_changes_a_quantised_base(precision, folders):
    model = load(folders["opt"], precision)
    before = digest(model)
    assert digest(model.to("cpu")) == before
    policy = shake(adapt("lora", model))
    expected = logits_of(policy)
    assert torch.equal(logits_of(policy.to("cpu").to(torch.device("cpu"))), expected)
    assert digest(policy.model) == before
    unplaced = load_model(
        folders["opt"], dtype=base_dtype(precision), quantization_config=quantization_config(precision)
    )
    assert digest(unplaced) == before


def test_a_quantised_models_dropout_is_off(tmp_path):
    config = OPTConfig(
        vocab_size=30, hidden_size=64, word_embed_proj_dim=64, ffn_dim=96, num_hidden_layers=2,
        num_attention_heads=2, dropout=0.5, attention_dropout=0.5, layerdrop=0.9,
    )  # fmt: skip
    OPTForCausalLM(config).save_pretrained(tmp_path)
    model = load(tmp_path, "int8").train()
    ids, mask = tokens()
    first, second = (model(input_ids=ids, attention_mask=mask).logits for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("precision", ["fp32", *REDUCED])
def test_refuses_weights_that_are_quantised_already(precision, folders, tmp_path):
    stock = AutoModelForCausalLM.from_pretrained(
        folders["llama"], quantization_config=quantization_config("int8")
    )
    stock.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"quantised already \(bitsandbytes\)") as refused:
        load(tmp_path, precision)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("precision", QUANTISED)
def test_a_quantised_base_is_neither_merged_into_nor_saved(precision, folders, tmp_path):
    with pytest.raises(UserError, match="merge: the base is quantised"):
        LoRA(load(folders["opt"], precision), 2).merge()
    # Only layers in floating point are adapted here; the rest would be copied in 8 or 4 bits all the same.
    with pytest.raises(UserError, match="merge: the base is quantised"):
        LoRA(load(folders["opt"], precision), 2, targets="lm_head").merge()
    heads = adapt("full heads", load(folders["opt"], precision))
    bank = heads.bank
    with pytest.raises(UserError, match="merge: the base is quantised"):
        heads.merge_head(0)
    assert heads.bank is bank
    with pytest.raises(UserError, match="save_model: this model is quantised"):
        save_model(load(folders["opt"], precision), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("precision", REDUCED)
@torch.no_grad()
def test_stock_peft_loads_an_export_onto_the_same_base(precision, folders, tmp_path):
    half = torch.tensor([0.4, 0.6])
    policy = shake(adapt("svd", load(folders["llama"], precision)), std=0.2).eval()
    policy.export(half, tmp_path)
    ids, mask = tokens()
    wanted = policy(ids, mask, half).float()
    stock = PeftModel.from_pretrained(load(folders["llama"], precision), tmp_path)
    found = stock(input_ids=ids, attention_mask=mask).logits.float()
    assert (found - wanted).norm() < ROUNDING["bf16"] * wanted.norm()
    with policy.reference():
        assert (policy(ids, mask).float() - wanted).norm() > 0.3 * wanted.norm()


def test_bytes_in_memory(tmp_path):
    """26,219,008 parameters; 25.2 million of them are in linear layers that quantisation packs."""
    sizes = {"vocab_size": 1024, "hidden_size": 512, "layers": 8, "intermediate_size": 1365, "heads": 8}
    save_model(tiny("llama", **sizes), tmp_path)
    found, counted = {}, {}
    for precision in ("fp32", *REDUCED):
        model = load(tmp_path, precision)
        found[precision] = stored_bytes(model)
        # Buffers are rotary frequencies.
        counted[precision] = sum(each.nbytes for _, each in base_tensors(model))
    assert found == counted
    linear = 8 * (4 * 512 * 512 + 3 * 512 * 1365)
    rest = 2 * 1024 * 512 + 17 * 512
    rows = 8 * (4 * 512 + 2 * 1365 + 512)
    wanted = {
        "fp32": 4 * (linear + rest),
        "bf16": 2 * (linear + rest),
        "int8": linear + 4 * rows + 2 * rest,
        "nf4": linear / 2 + 4 * linear / 64 + 2 * rest,
    }
    for precision, expected in wanted.items():
        assert found[precision] == pytest.approx(expected, rel=1e-3), precision
    assert found["nf4"] < found["int8"] < found["bf16"] < found["fp32"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("autograd._functions", "MatMul8bitLt: inputs will be cast from %s to float16 during quantization"),
        ("backends.cpu.ops", "Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please make"),
    ],
)
def test_bitsandbytes_says_nothing_of_its_casts_and_of_kernels_from_the_hub(name, line, caplog):
    logger = logging.getLogger(f"bitsandbytes.{name}")
    with caplog.at_level(logging.WARNING):
        logger.warning(line, "bfloat16")
        logger.warning("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"]
