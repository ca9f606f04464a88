import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_moa.errors import UserError
from lightning_moa.rewards import HubRewards
from lightning_moa.rewards.score_head import ScoreHead

from .models import PROMPTS, RESPONSES, llama_config, llama_folder

REWARD = "PKU-Alignment/beaver-7b-v1.0-reward"


def rewrite(folder, change, **config):
    """Change the weights and the configuration of a folder."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    options = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in options.items() if value is not ...})
    )


def test_the_score_is_read_at_the_last_token_that_is_not_padding():
    torch.manual_seed(0)
    network = ScoreHead(llama_config(bias=True)).eval()
    ids = torch.randint(4, 320, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    with torch.no_grad():
        scores = network(ids, mask)
        hidden = network.model(input_ids=ids[1:, :4])[0][0, -1]
    by_hand = hidden @ network.score_head.weight[0] + network.score_head.bias[0]
    assert scores.shape == (2, 1)
    torch.testing.assert_close(scores[1, 0], by_hand)


def test_names_are_those_of_the_published_weights():
    names = set(ScoreHead(llama_config(bias=True)).state_dict())
    assert {"model.embed_tokens.weight", "model.norm.weight", "score_head.weight", "score_head.bias"} <= names
    assert all(name.startswith(("model.", "score_head.")) for name in names)


def test_published_buffers_are_passed_over(tmp_path):
    folder = llama_folder(tmp_path)
    before = HubRewards(REWARD, path=folder).scores(PROMPTS, RESPONSES)
    extra = {
        "normalizer.mean": torch.ones(1),
        "normalizer.var": torch.ones(1) * 4,
        "normalizer.count": torch.ones(1, dtype=torch.long),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    rewrite(folder, lambda weights: weights | extra, do_normalize=True)
    np.testing.assert_array_equal(HubRewards(REWARD, path=folder).scores(PROMPTS, RESPONSES), before)


def test_a_bias_follows_the_configuration_else_the_weights(tmp_path):
    folder = llama_folder(tmp_path)
    plain = HubRewards(REWARD, path=folder).scores(PROMPTS, RESPONSES)
    rewrite(folder, lambda weights: weights | {"score_head.bias": torch.tensor([2.5])}, bias=True)
    np.testing.assert_allclose(
        HubRewards(REWARD, path=folder).scores(PROMPTS, RESPONSES), plain + 2.5, atol=1e-5
    )
    rewrite(folder, dict, bias=...)
    np.testing.assert_allclose(
        HubRewards(REWARD, path=folder).scores(PROMPTS, RESPONSES), plain + 2.5, atol=1e-5
    )
    rewrite(folder, dict, bias=False)
    with pytest.raises(UserError, match=r"unknown weight score_head\.bias"):
        HubRewards(REWARD, path=folder)


def test_a_missing_head_is_a_user_error(tmp_path):
    folder = llama_folder(tmp_path)
    rewrite(folder, lambda weights: {name: w for name, w in weights.items() if name != "score_head.weight"})
    with pytest.raises(UserError, match=r"has no weight score_head\.weight"):
        HubRewards(REWARD, path=folder)


def test_several_scores_are_a_user_error(tmp_path):
    folder = llama_folder(tmp_path)
    rewrite(folder, dict, score_dim=2)
    with pytest.raises(UserError, match="one score is expected, got llama with 2"):
        HubRewards(REWARD, path=folder)


@pytest.mark.parametrize("bias", [{"bias": True}, {}])
def test_shards_give_the_same_scores(tmp_path, bias):
    whole = HubRewards(REWARD, path=llama_folder(tmp_path / "whole", **bias))
    folder = llama_folder(tmp_path / "shards", shard_size="20KB", **bias)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    shards = HubRewards(REWARD, path=folder).scores(PROMPTS, RESPONSES)
    # Not to the bit: how a CPU adds up may hang on where in memory the weights lie.
    np.testing.assert_allclose(shards, whole.scores(PROMPTS, RESPONSES), rtol=1e-6)
