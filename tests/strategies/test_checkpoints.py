"""Checkpoints: what goes in comes out, a crash leaves the former one, and no torn or foreign one is gone on from."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_moa.errors import UserError
from lightning_moa.strategies import checkpoints
from lightning_moa.strategies.checkpoints import (
    check_checkpoint,
    check_kept,
    read_checkpoint,
    write_checkpoint,
)

TYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int32,
    torch.int64,
    torch.bool,
)


def refuse(line):
    raise AssertionError(line)


def written(folder, update=1, run="a", state=None):
    return write_checkpoint(folder, run, update, {"x": torch.arange(3)} if state is None else state)


def alter_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_tensors_of_every_type_and_shape_come_back(kind, tmp_path):
    torch.manual_seed(0)
    values = torch.randint(0, 2 if kind is torch.bool else 100, (4, 6)).to(kind)
    state = {
        "matrix": values,
        "transposed": values.T,
        "view": values[1:3, ::2],
        "scalar": values[0, 0],
        "empty": values[:0],
        "parameter": torch.nn.Parameter(values) if kind.is_floating_point else values,
    }
    written(tmp_path, 7, state=state)
    update, found = read_checkpoint(tmp_path, "a", refuse)
    assert update == 7
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == kind
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor), name


def test_nested_values_come_back(tmp_path):
    state = {
        "state": {0: {"step": torch.tensor(3.0), "lr": 1e-3}, 11: {}},
        "groups": [{"betas": (0.9, 0.999), "params": [0, 1], "fused": None}],
        "a/b": {"c": torch.ones(2)},
        "a": {"b/c": torch.zeros(2)},
        "flags": [True, False, 2**40, -0.1, float("inf"), "text", "", None, [], {}],
    }
    written(tmp_path, state=state)
    _, found = read_checkpoint(tmp_path, "a", refuse)
    assert found["state"][0]["step"] == 3.0
    assert found["state"][0]["lr"] == 1e-3
    assert list(found["state"]) == [0, 11]
    assert found["groups"] == [{"betas": [0.9, 0.999], "params": [0, 1], "fused": None}]
    assert found["a/b"]["c"].tolist() == [1.0, 1.0]
    assert found["a"]["b/c"].tolist() == [0.0, 0.0]
    assert found["flags"] == state["flags"]
    assert [type(value) for value in found["flags"]] == [type(value) for value in state["flags"]]


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_an_optimiser_goes_on_as_if_nothing_had_been(kind, tmp_path):
    from lightning_moa.strategies.quantisation import adamw

    def make():
        weights = [torch.nn.Parameter(torch.linspace(-1, 1, size)) for size in (5, 8192)]
        return weights, adamw(kind, weights, lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)

    def step(weights, optimiser, seed):
        for each in weights:
            each.grad = torch.randn(each.shape, generator=torch.Generator().manual_seed(seed))
        optimiser.step()

    weights, optimiser = make()
    for seed in range(3):
        step(weights, optimiser, seed)
    written(tmp_path, state={"weights": weights, "optimiser": optimiser.state_dict()})
    _, found = read_checkpoint(tmp_path, "a", refuse)
    others, again = make()
    with torch.no_grad():
        for each, value in zip(others, found["weights"], strict=True):
            each.copy_(value)
    again.load_state_dict(found["optimiser"])
    if kind == "adamw_8bit":
        assert any(getattr(value, "dtype", None) is torch.uint8 for value in again.state[others[1]].values())
    for seed in (3, 4):
        step(weights, optimiser, seed)
        step(others, again, seed)
    for each, other in zip(weights, others, strict=True):
        assert torch.equal(each, other)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), torch.float32])
def test_what_cannot_be_kept_is_named_and_nothing_is_left(value, tmp_path):
    with pytest.raises(TypeError, match=r"/outer/inner: a .* cannot be kept in a checkpoint"):
        written(tmp_path, state={"outer": {"inner": value}})
    assert read_checkpoint(tmp_path, "a", refuse) is None


@pytest.mark.parametrize("key", [(0, 1), torch.tensor(1), b"x"])
def test_a_key_that_would_not_come_back_is_named_before_there_is_anything_to_lose(key):
    with pytest.raises(UserError, match=r"Own\.state_dict\(\)/counts: a key that is a .*; allowed are"):
        check_kept({"counts": {key: 1}}, "Own")


def test_texts_that_look_like_a_tensors_place_are_texts(tmp_path):
    written(tmp_path, state={"log": "tensor:/log", "x": "tensor:nowhere"})
    _, found = read_checkpoint(tmp_path, "a", refuse)
    assert found == {"log": "tensor:/log", "x": "tensor:nowhere"}


def test_the_files_are_safetensors_and_json_alone(tmp_path):
    path = written(tmp_path, state={"x": torch.ones(2), "n": 1})
    assert sorted(file.name for file in path.iterdir()) == ["0.json", "0.safetensors", "manifest.json"]
    for name in ("0.json", "manifest.json"):
        json.loads((path / name).read_text())
    content = (path / "0.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert set(json.loads(content[8 : 8 + length])) == {"0/x"}
    assert load_file(path / "0.safetensors")["0/x"].tolist() == [1.0, 1.0]


def test_the_last_two_are_kept_by_their_number(tmp_path):
    for update in (8, 9, 10, 11):
        written(tmp_path, update)
    assert checkpoints.KEPT == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update-10", "update-11"]
    assert read_checkpoint(tmp_path, "a", refuse)[0] == 11


def test_refused_ones_of_later_updates_do_not_push_out_what_is_written(tmp_path):
    for update in (90, 100):
        alter_manifest(written(tmp_path, update), processes=2)
    for update in (10, 20, 30):
        written(tmp_path, update)
    found = read_checkpoint(tmp_path, "a", lambda line: None)
    assert found is not None
    assert found[0] == 30
    assert (tmp_path / "update-20").is_dir()
    assert not (tmp_path / "update-10").exists()


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "step-3").mkdir()
    (tmp_path / "update-old").write_text("")
    for update in range(4):
        written(tmp_path, update)
    assert {path.name for path in tmp_path.iterdir()} == {"step-3", "update-old", "update-2", "update-3"}


@pytest.mark.parametrize("moment", ["write", "manifest", "rename"])
def test_a_crash_leaves_the_former_one(moment, tmp_path, monkeypatch):
    written(tmp_path, 1, state={"x": 1})
    writing, renaming = checkpoints._write, Path.rename

    def write(path, content):
        if moment == "write" or (moment == "manifest" and path.name == "manifest.json"):
            path.write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        writing(path, content)

    def rename(self, target):
        if moment == "rename":
            raise KeyboardInterrupt
        return renaming(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "_write", write)
        patched.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            written(tmp_path, 2, state={"x": 2})
    assert read_checkpoint(tmp_path, "a", refuse) == (1, {"x": 1})
    written(tmp_path, 2, state={"x": 2})
    assert read_checkpoint(tmp_path, "a", refuse) == (2, {"x": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update-1", "update-2"]


def test_a_checkpoint_of_the_same_update_is_replaced(tmp_path):
    written(tmp_path, 1, state={"x": 1})
    written(tmp_path, 1, state={"x": 2})
    assert read_checkpoint(tmp_path, "a", refuse) == (1, {"x": 2})


def no_manifest(path):
    (path / "manifest.json").unlink()


def cut_manifest(path):
    (path / "manifest.json").write_text((path / "manifest.json").read_text()[:20])


def a_list(path):
    (path / "manifest.json").write_text("[]")


def cut_tensors(path):
    (path / "0.safetensors").write_bytes((path / "0.safetensors").read_bytes()[:-1])


def flipped_bit(path):
    content = bytearray((path / "0.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "0.safetensors").write_bytes(content)


def no_tensors(path):
    (path / "0.safetensors").unlink()


def altered_values(path):
    (path / "0.json").write_text("{}")


def no_values(path):
    (path / "0.json").unlink()


def no_sums(path):
    alter_manifest(path, sha256=None)


def too_few_sums(path):
    alter_manifest(path, sha256={})


def foreign_name(path):
    alter_manifest(path, sha256={"../0.json": "0", "0.safetensors": "0"})


def pickled(path):
    import hashlib

    torch.save({"x": 1}, path / "0.safetensors")
    manifest = json.loads((path / "manifest.json").read_text())
    digest = hashlib.sha256((path / "0.safetensors").read_bytes()).hexdigest()
    alter_manifest(path, sha256=manifest["sha256"] | {"0.safetensors": digest})


@pytest.mark.parametrize(
    ("tear", "said"),
    [
        (no_manifest, r"torn \(manifest.json cannot be read\)"),
        (cut_manifest, r"torn \(manifest.json cannot be read\)"),
        (a_list, "not of format 1"),
        (lambda path: alter_manifest(path, format=2), "not of format 1"),
        (lambda path: alter_manifest(path, run="b"), r"of another run \(b\); this one is a"),
        (lambda path: alter_manifest(path, processes=2), "of 2 processes, and this run has 1"),
        (cut_tensors, r"torn \(0.safetensors is not what was written\)"),
        (flipped_bit, r"torn \(0.safetensors is not what was written\)"),
        (no_tensors, r"torn \(0.safetensors cannot be read\)"),
        (altered_values, r"torn \(0.json is not what was written\)"),
        (no_values, r"torn \(0.json cannot be read\)"),
        (no_sums, r"torn \(its manifest does not name the files of all processes\)"),
        (too_few_sums, r"torn \(its manifest does not name the files of all processes\)"),
        (foreign_name, r"torn \(its manifest does not name the files of all processes\)"),
        (pickled, "0.safetensors is not a safetensors file"),
    ],
)
def test_every_kind_of_tearing_is_refused_by_name_and_the_one_before_is_used(tear, said, tmp_path):
    written(tmp_path, 9, state={"x": torch.tensor(9)})
    newest = written(tmp_path, 10, state={"x": torch.tensor(10)})
    tear(newest)
    with pytest.raises(UserError, match=f"update-10: {said}"):
        check_checkpoint(newest, "a", 1)
    lines = []
    assert read_checkpoint(tmp_path, "a", lines.append) == (9, {"x": torch.tensor(9)})
    (line,) = lines
    assert line.startswith(f"checkpoint {newest}: ")
    assert "\n" not in line


def test_nothing_whole_is_nothing(tmp_path):
    assert read_checkpoint(tmp_path / "missing", "a", refuse) is None
    cut_tensors(written(tmp_path))
    lines = []
    assert read_checkpoint(tmp_path, "a", lines.append) is None
    assert len(lines) == 1
