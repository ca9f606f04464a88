"""Saved policies on a base again: round trips, refusals, and what stock peft makes of an export."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, RewardedSoup, SVDLoRA, load_policy, read_sidecar
from lightning_moa.policies.files import TENSORS
from lightning_moa.task_files import SIDECAR
from tests.policies.models import shake, tiny, tokens

FAMILIES = ("llama", "mistral", "opt")
HALF = torch.tensor([0.4, 0.6])


def make(kind, model, tmp_path=None):
    if kind == "lora":
        return shake(LoRA(model, 3, scaling=0.5, targets="layers."))
    if kind == "svd":
        return shake(SVDLoRA(model, 3, 2, scaling=2.0))
    if kind == "fixed scale":
        return shake(SVDLoRA(model, 3, 2, fixed_scale=0.7))
    if kind == "no preference":
        return shake(SVDLoRA(model, 4, 0))
    folders = [tmp_path / "one", tmp_path / "two"]
    shake(LoRA(copy.deepcopy(model), 2), 1).save(folders[0])
    shake(SVDLoRA(copy.deepcopy(model), 3, 0), 2).save(folders[1])
    return RewardedSoup.from_folders(model, folders)


KINDS = ("lora", "svd", "fixed scale", "no preference", "soup")


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind, tmp_path):
    policy = make(kind, tiny(), tmp_path)
    ids, mask = tokens()
    policy.save(tmp_path / "saved")
    again = load_policy(tiny(), tmp_path / "saved")
    assert type(again) is type(policy)
    assert again.options() == policy.options()
    assert torch.equal(again(ids, mask, HALF), policy(ids, mask, HALF))
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [SIDECAR, TENSORS]


@pytest.mark.parametrize(
    ("base", "match"),
    [
        ({"family": "mistral"}, "architecture"),
        ({"hidden_size": 32}, "hidden_size"),
        ({"layers": 3}, "layers"),
        ({"vocab_size": 30}, "vocab_size"),
        ({"intermediate_size": 28}, "has shape"),
    ],
)
def test_refuses_another_base(base, match, tmp_path):
    make("svd", tiny()).save(tmp_path)
    other = tiny(**base)
    with pytest.raises(UserError, match=match):
        load_policy(other, tmp_path)
    LoRA(other, 2)  # still free of adapters


def test_refuses_another_base_id_where_both_are_given(tmp_path):
    make("svd", tiny()).save(tmp_path, base_id="sft-0")
    load_policy(tiny(), tmp_path)
    load_policy(tiny(), tmp_path, base_id="sft-0")
    with pytest.raises(UserError, match="sft-0"):
        load_policy(tiny(), tmp_path, base_id="sft-1")


def edit(folder, **changes):
    path = folder / SIDECAR
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"options": {"k": 3, "m": 3}}, "has shape"),
        ({"options": {"k": 2, "m": 3}}, "has shape"),
        ({"options": {"k": 5, "m": 0}}, "unexpected|missing"),
        ({"options": {"k": 3, "m": 2, "fixed_scale": 1.0}}, "unexpected"),
        ({"options": {"k": 3, "wings": 2}}, "options do not describe"),
        ({"options": {"k": 3, "m": 2, "dropout": 2.0}}, "options do not describe"),
        ({"options": {"k": -3, "m": 2}}, "negative"),
        ({"kind": "lightning_moa.policies.lora:LoRA", "options": {"rank": 5}}, "unexpected"),
        ({"kind": "lightning_moa.policies.lora:IA3"}, "has no IA3"),
        ({"kind": "lightning_moa.policies.model:load_model"}, "allowed are"),
        ({"kind": "tests.policies.test_loading:Wide"}, "one's own"),
        ({"format": 1}, "format"),
        ({"options": {"k": 3, "m": 2, "targets": ["lm_head"]}}, "unexpected"),
        ({"options": {"k": 3, "m": 2, "targets": ["model.layers.7.mlp.up_proj"]}}, "no linear layer"),
        ({"options": {"k": 3, "m": 2, "targets": "lm_head"}}, "unexpected"),
        ({"options": {"k": 3, "m": 2, "targets": "wings"}}, "targets"),
        ({"options": ["k", 3]}, "'options' is missing or not a dict"),
        ({"sha256": "0"}, "not the file"),
        ({"base": {}}, "architecture"),
    ],
)
def test_refuses_a_sidecar_that_does_not_fit(changes, match, tmp_path):
    make("svd", tiny()).save(tmp_path)
    edit(tmp_path, **changes)
    base = tiny()
    with pytest.raises(UserError, match=match):
        load_policy(base, tmp_path)
    LoRA(base, 2)


def test_refuses_a_soup_whose_layers_are_not_there(tmp_path):
    make("soup", tiny(), tmp_path).save(tmp_path / "soup")
    edit(tmp_path / "soup", options={"ranks": [2, 3], "targets": ["model.layers.7.mlp.up_proj"]})
    with pytest.raises(UserError, match="no linear layer"):
        load_policy(tiny(), tmp_path / "soup")
    edit(tmp_path / "soup", options={})
    with pytest.raises(UserError, match=r"no linear layer|options"):
        load_policy(tiny(), tmp_path / "soup")


def test_refuses_torn_foreign_and_missing_files(tmp_path):
    with pytest.raises(UserError, match="no saved policy"):
        load_policy(tiny(), tmp_path / "nothing")
    make("svd", tiny()).save(tmp_path)
    tensors, sidecar = (tmp_path / TENSORS).read_bytes(), (tmp_path / SIDECAR).read_text()
    (tmp_path / TENSORS).write_bytes(tensors[: len(tensors) // 2])
    with pytest.raises(UserError, match="torn"):
        load_policy(tiny(), tmp_path)
    (tmp_path / TENSORS).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_policy(tiny(), tmp_path)
    for text in (sidecar[:40], "[]", "{}", "\x00"):
        (tmp_path / SIDECAR).write_text(text)
        with pytest.raises(UserError):
            load_policy(tiny(), tmp_path)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_refuses_tensors_that_do_not_fit(change):
    policy = make("svd", tiny())
    state = {name: tensor.clone() for name, tensor in policy.trained_state().items()}
    if change == "missing":
        del state["lm_head.lora_A"]
    elif change == "unexpected":
        state["lm_head.lora_C"] = torch.zeros(1)
    else:
        state["lm_head.lora_A"] = torch.zeros(1, 2)
    before = {name: tensor.clone() for name, tensor in policy.trained_state().items()}
    with pytest.raises(UserError, match=change):
        policy.load_trained_state(state)
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.trained_state().items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@torch.no_grad()
def test_stock_peft_loads_an_export_to_the_same_logits(kind, family, dtype, tolerance, tmp_path):
    policy = make(kind, tiny(family), tmp_path).to(dtype)
    policy.export(HALF, tmp_path / "peft")
    ids, mask = tokens()
    stock = PeftModel.from_pretrained(tiny(family).to(dtype), tmp_path / "peft")
    found = stock(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found, policy(ids, mask, HALF), atol=tolerance, rtol=tolerance)
    with policy.reference():
        assert (policy(ids, mask) - found).abs().max() > 0.1


def test_an_export_loads_no_peft(tmp_path, monkeypatch):
    """Nor bitsandbytes, which peft loads, and which has a line to say."""
    monkeypatch.setitem(sys.modules, "peft", None)
    make("svd", tiny()).export(HALF, tmp_path)
    told = json.loads((tmp_path / "adapter_config.json").read_text())
    assert told["r"] == told["lora_alpha"]


def test_export_wants_one_preference(tmp_path):
    with pytest.raises(UserError, match="one vector"):
        make("svd", tiny()).export(HALF.repeat(4, 1), tmp_path)
    with pytest.raises(UserError, match="none was given"):
        make("svd", tiny()).export(None, tmp_path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    import hashlib

    make("svd", tiny()).save(tmp_path)
    save_file({"other": torch.zeros(2)}, tmp_path / TENSORS)
    assert list(load_file(tmp_path / TENSORS)) == ["other"]
    edit(tmp_path, sha256=hashlib.sha256((tmp_path / TENSORS).read_bytes()).hexdigest())
    with pytest.raises(UserError, match="missing"):
        load_policy(tiny(), tmp_path)
    (tmp_path / TENSORS).write_bytes(b"not tensors")
    edit(tmp_path, sha256=hashlib.sha256(b"not tensors").hexdigest())
    with pytest.raises(UserError, match="not a safetensors file"):
        load_policy(tiny(), tmp_path)


class Wide(LoRA):
    """A policy from outside, of twice the rank."""

    def __init__(self, model, rank=2, **options):
        super().__init__(model, 2 * rank, **options)
        self._options["rank"] = rank


def test_one_from_outside_is_loaded_where_its_class_is_given_and_never_by_the_folders_own_word(tmp_path):
    policy = shake(Wide(tiny(), 3))
    policy.save(tmp_path)
    assert read_sidecar(tmp_path)["kind"] == f"{__name__}:Wide"
    again = load_policy(tiny(), tmp_path, kind=Wide)
    assert type(again) is Wide
    assert torch.equal(again(*tokens()), policy(*tokens()))
    base = tiny()
    with pytest.raises(UserError, match=f"kind {__name__}:Wide: allowed are .*load_policy.kind="):
        load_policy(base, tmp_path)
    with pytest.raises(
        UserError, match=f"kind {__name__}:Wide: lightning_moa.policies.svd_lora:SVDLoRA is expected"
    ):
        load_policy(base, tmp_path, kind=SVDLoRA)
    LoRA(base, 2).unload()
    make("lora", tiny()).save(tmp_path)
    with pytest.raises(
        UserError, match=f"kind lightning_moa.policies.lora:LoRA: {__name__}:Wide is expected"
    ):
        load_policy(base, tmp_path, kind=Wide)
    LoRA(base, 2).unload()
