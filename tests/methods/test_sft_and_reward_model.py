"""Short fits of the reference policy and of a reward model."""

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, LlamaConfig

from lightning_moa.errors import UserError
from lightning_moa.methods.reward_model import RewardModel
from lightning_moa.methods.sft import SFT
from lightning_moa.objectives import BradleyTerry, Likelihood
from lightning_moa.policies import Policy
from tests.methods.fitting import adam, labelled, train
from tests.objectives.batches import pairs, sequences
from tests.policies.models import PAD, VOCABULARY, tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")


def test_sft_raises_the_likelihood():
    policy, batch = Policy(tiny()), sequences(None, count=8)
    before = Likelihood().losses(policy, batch).item()
    train(SFT(policy, adam(0.01)), [batch] * 30)
    assert Likelihood().losses(policy, batch).item() < 0.5 * before


def classifier():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=2,
        pad_token_id=PAD,
    )
    return AutoModelForSequenceClassification.from_config(config)


def test_a_reward_model_learns_to_rank():
    network, batch = classifier(), labelled(8)
    before = BradleyTerry().losses(network, batch)
    train(RewardModel(network, adam(0.02), regularisation=0.001), [batch] * 40)
    after = BradleyTerry().losses(network, batch)
    assert (after < 0.5 * before).all()
    first, second = network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.chunk(2)
    assert ((second > first) == batch.labels.bool()).float().mean() > 0.8


def test_a_reward_model_is_fitted_to_scores():
    network, batch = classifier(), sequences(None, count=8)
    batch.rewards = torch.randn(8, 2)
    train(RewardModel(network, adam(0.02), regularisation=0.0, view="sequences"), [batch] * 60)
    found = network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    assert ((found - batch.rewards) ** 2).mean() < 0.2 * (batch.rewards**2).mean()
    batch.rewards = None
    with pytest.raises(UserError, match="the data has none"):
        RewardModel(network, view="sequences").training_step(batch, 0)
    with pytest.raises(UserError, match="view='prompts': allowed are pairs, sequences"):
        RewardModel(network, view="prompts")


def test_a_held_out_loss_is_the_mean_over_what_is_labelled():
    """Batches count as much as they have labels; one without any says nothing, and an objective neither."""
    network, nan = classifier(), float("nan")
    batches = [
        pairs([[0.0, 1.0], [1.0, nan], [0.0, nan]]),
        pairs([[nan, nan]], seed=1),
        pairs([[1.0, nan]], seed=2),
    ]
    losses = [BradleyTerry().losses(network, batch).detach() for batch in batches]
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    model = RewardModel(network, regularisation=0.0, objectives=("good", "brief"))
    (found,) = trainer.validate(model, DataLoader(batches, batch_size=None), verbose=False)
    good, brief = (3 * losses[0][0] + losses[2][0]) / 4, losses[0][1]
    assert found["val/loss/good"] == pytest.approx(float(good))
    assert found["val/loss/brief"] == pytest.approx(float(brief))
    assert found["val/loss"] == pytest.approx(float(good + brief) / 2)
