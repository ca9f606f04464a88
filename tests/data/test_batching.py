import numpy as np
import pytest
import torch

from lightning_moa.data.batching import StepLoader, pair_batch, prompt_batch, sequence_batch
from lightning_moa.data.encoding import EncodingRules, encode
from lightning_moa.errors import UserError


def loader(**options):
    settings = {"batch_size": 4, "steps": 9, "seed": 3, **options}
    return StepLoader(lambda rows: rows.tolist(), 10, **settings)


def flat(batches):
    return [row for batch in batches for row in batch]


def test_each_epoch_is_a_fresh_permutation_and_batches_straddle():
    batches = list(loader())
    assert len(batches) == len(loader()) == 9
    line = flat(batches)
    for epoch in range(3):
        assert sorted(line[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert line[:10] != line[10:20]
    assert list(loader()) == batches
    assert list(loader(seed=4)) != batches


def test_a_batch_may_span_several_epochs():
    rows = flat(StepLoader(lambda rows: rows.tolist(), 3, batch_size=8, steps=3, seed=0))
    assert all(sorted(rows[3 * epoch : 3 * epoch + 3]) == [0, 1, 2] for epoch in range(8))


@pytest.mark.parametrize("start", [0, 1, 5, 9])
def test_a_resumed_run_sees_the_remaining_batches(start):
    resumed = loader(start_step=start)
    assert list(resumed) == list(loader())[start:]
    assert len(resumed) == 9 - start


def test_ranks_partition_each_batch_in_order():
    whole = list(loader())
    for world_size in (2, 4):
        shares = [list(loader(rank=rank, world_size=world_size)) for rank in range(world_size)]
        assert [flat(parts) for parts in zip(*shares, strict=True)] == whole


def test_a_stored_place_is_taken_up_once():
    stopped = loader()
    steps = iter(stopped)
    seen = [next(steps) for _ in range(4)]
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.state_dict() == stopped.state_dict() == {"next_step": 4}
    assert seen + list(resumed) == list(loader())
    assert list(resumed) == list(loader())


def test_a_trainer_s_checkpoint_takes_the_loader_up(tmp_path):
    import lightning as L
    from lightning.pytorch.callbacks import ModelCheckpoint

    seen = []

    class Seeing(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return self.weight.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    options = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 1,
    }
    keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    L.Trainer(callbacks=[keep], **options).fit(Seeing(), loader())
    assert seen == list(loader())
    seen.clear()
    resumed = L.Trainer(enable_checkpointing=False, **options)
    resumed.fit(Seeing(), loader(), ckpt_path=tmp_path / "step=4.ckpt", weights_only=True)
    assert seen == list(loader())[4:]
    assert resumed.global_step == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"world_size": 3}, "multiple of the 3 processes"),
        ({"start_step": 10}, "start_step=10"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(UserError, match=words):
        loader(**options)


@pytest.fixture(scope="module")
def encoded(tokenizer):
    prompts = ["red", "a long question about blue", "green"]
    replies = [("small", "large round square"), ("x", "quick slow loud"), ("calm", "b")]
    found = encode(tokenizer, prompts, replies, EncodingRules())
    return prompts, replies, found


def test_masks_mark_exactly_the_response_and_its_eos(tokenizer, encoded):
    prompts, replies, found = encoded
    labels = np.array([[0, 1], [1, np.nan], [0, 0]])
    ref = np.array([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]])
    batch = pair_batch(found, np.array([2, 1]), tokenizer.pad_token_id, labels, ref)
    assert batch.input_ids.dtype == torch.int64
    assert batch.index.tolist() == [2, 1]
    assert batch.ref_logps.tolist() == [-5, -3, -6, -4]
    torch.testing.assert_close(batch.labels, torch.tensor([[0.0, 0.0], [1.0, torch.nan]]), equal_nan=True)
    texts = [(prompts[i], replies[i][side]) for side in (0, 1) for i in (2, 1)]
    for row, (prompt, reply) in enumerate(texts):
        tokens, mask = batch.input_ids[row], batch.response_mask[row]
        assert tokenizer.decode(tokens[mask]) == reply + tokenizer.eos_token
        assert tokenizer.decode(tokens[batch.attention_mask[row] & ~mask]) == tokenizer.bos_token + prompt
        assert (tokens[~batch.attention_mask[row]] == tokenizer.pad_token_id).all()
        width = int(batch.attention_mask[row].sum())
        assert batch.attention_mask[row, :width].all(), "padding is on the right"
    assert batch.attention_mask.any(dim=0).all(), "no wider than the longest row"


def test_sequences_carry_their_rewards(tokenizer):
    found = encode(tokenizer, ["a", "b"], [("loud " * 20,), ("y",)], EncodingRules("{prompt}", 20, 9))
    rewards = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    batch = sequence_batch(found, np.array([0]), tokenizer.pad_token_id, rewards)
    assert batch.rewards.tolist() == [[4, 5, 6]], "rewards follow the text, not the place among the kept rows"
    assert sequence_batch(found, np.array([0]), tokenizer.pad_token_id, None).rewards is None


def test_prompts_are_padded_on_the_left(tokenizer, encoded):
    prompts, _, _ = encoded
    found = encode(tokenizer, prompts, None, EncodingRules())
    batch = prompt_batch(found, np.array([0, 1]), tokenizer.pad_token_id)
    assert batch.prompts == prompts[:2]
    assert batch.attention_mask[:, -1].all()
    for row in (0, 1):
        kept = batch.attention_mask[row]
        assert tokenizer.decode(batch.input_ids[row][kept]) == tokenizer.bos_token + prompts[row]
        assert (batch.input_ids[row][~kept] == tokenizer.pad_token_id).all()
        assert (kept.int().diff() >= 0).all()
