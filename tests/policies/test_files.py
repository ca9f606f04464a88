"""Policies on disk: two files, replaced together, that say what they are."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel

from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, SVDLoRA, load_policy, read_sidecar
from lightning_moa.policies.files import FORMAT, TENSORS, fingerprint, kind_of, replace_files
from lightning_moa.run_folders import owner
from lightning_moa.task_files import SIDECAR
from tests.policies.models import shake, tiny, tokens
from tests.policies.test_loading import HALF, make


def test_sidecar_says_what_it_is_and_a_second_save_replaces(tmp_path):
    policy = make("svd", tiny())
    policy.save(tmp_path, objectives=["helpful", "harmless"], base_id="sft-0")
    sidecar = read_sidecar(tmp_path)
    assert sidecar["kind"] == "lightning_moa.policies.svd_lora:SVDLoRA"
    assert sidecar["objectives"] == ["helpful", "harmless"]
    assert sidecar["base"] == {
        "architecture": "LlamaConfig", "vocab_size": 24, "hidden_size": 16, "layers": 2, "id": "sft-0",
    }  # fmt: skip
    # What a process left that was killed: it had the number of this one.
    (tmp_path / f".{TENSORS}.{owner().rpartition('_')[0]}_1").touch()
    shake(policy, 9).save(tmp_path)
    assert not list(tmp_path.glob(".*"))
    ids, mask = tokens()
    assert torch.equal(load_policy(tiny(), tmp_path)(ids, mask, HALF), policy(ids, mask, HALF))


def test_names_must_be_as_many_as_objectives(tmp_path):
    with pytest.raises(UserError, match="steered by 2"):
        make("svd", tiny()).save(tmp_path, objectives=["helpful"])
    assert not list(tmp_path.iterdir())


def test_stock_peft_cannot_load_a_saved_policy(tmp_path):
    make("svd", tiny()).save(tmp_path)
    with pytest.raises((ValueError, OSError)):
        PeftModel.from_pretrained(tiny(), str(tmp_path))


def test_a_folder_is_two_files_and_nothing_else(tmp_path):
    make("svd", tiny()).save(tmp_path / "deep" / "saved")
    assert sorted(path.name for path in (tmp_path / "deep" / "saved").iterdir()) == [SIDECAR, TENSORS]
    assert json.loads((tmp_path / "deep" / "saved" / SIDECAR).read_text())["format"] == FORMAT


def test_equal_policies_are_equal_files(tmp_path):
    for place in "ab":
        make("svd", tiny()).save(tmp_path / place)
    for name in (SIDECAR, TENSORS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    """Both files are written under other names before either takes its place."""
    policy = make("svd", tiny())
    policy.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shake(policy, 9)
    monkeypatch.setattr(SVDLoRA, "options", lambda self: {"k": object()})
    with pytest.raises(TypeError):
        policy.save(tmp_path)
    with pytest.raises(TypeError):
        replace_files(tmp_path, {TENSORS: b"new", SIDECAR: None})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_class_of_ours_is_called_by_its_path_as_any_other():
    class Inner(LoRA):
        pass

    assert kind_of(LoRA) == "lightning_moa.policies.lora:LoRA"
    assert kind_of(Inner).startswith(f"{__name__}:")
    # A namesake from outside is not ours.
    assert kind_of(type("LoRA", (LoRA,), {"__module__": "elsewhere"})) == "elsewhere:LoRA"


@pytest.mark.parametrize(
    "change", [{"vocab_size": 30}, {"hidden_size": 32}, {"layers": 3}, {"family": "opt"}]
)
def test_a_base_is_told_from_another(change):
    assert fingerprint(tiny()) == fingerprint(tiny(seed=5))
    assert fingerprint(tiny()) != fingerprint(tiny(**change))
