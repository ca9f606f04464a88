"""Sampling: its distribution, where it stops, and its independence of batch and padding."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from transformers import GenerationConfig

from lightning_moa.errors import UserError
from lightning_moa.policies import Heads, LoRA, Policy, SVDLoRA, generate
from tests.policies.models import BOS, EOS, PAD, VOCABULARY, preferences, shake, tiny, tokens

FAMILIES = ("llama", "mistral", "opt")


def prompts(extra=0):
    """Three prompts of 2, 4 and 3 tokens, padded on the left."""
    ids, _ = tokens(3, 4, seed=1)
    ids = torch.nn.functional.pad(ids, (extra, 0), value=PAD)
    mask = torch.ones_like(ids)
    for row, length in enumerate((2, 4, 3)):
        ids[row, : ids.shape[1] - length] = PAD
        mask[row, : ids.shape[1] - length] = 0
    return ids, mask


@pytest.fixture(params=FAMILIES)
def policy(request):
    return shake(SVDLoRA(tiny(request.param), 3, 2), std=0.2)


KEYS = torch.tensor([10, 20, 30])


def sample(policy, ids, mask, preference, keys=KEYS, **options):
    return generate(policy, ids, mask, preference=preference, row_keys=keys, max_new_tokens=8, **options)


def test_a_row_is_the_same_alone_and_in_any_batch(policy):
    ids, mask = prompts()
    rows = preferences(3, 2)
    together = sample(policy, ids, mask, rows)
    for i in range(3):
        alone = sample(policy, ids[i : i + 1], mask[i : i + 1], rows[i], KEYS[i : i + 1])
        assert torch.equal(alone.tokens, together.tokens[i : i + 1])
        assert torch.equal(alone.mask, together.mask[i : i + 1])
    order = torch.tensor([2, 0, 1])
    shuffled = sample(policy, ids[order], mask[order], rows[order], KEYS[order])
    assert torch.equal(shuffled.tokens, together.tokens[order])
    assert len({tuple(row.tolist()) for row in together.tokens}) == 3


def test_padding_on_the_left_changes_nothing(policy):
    preference = torch.tensor([0.4, 0.6])
    expected = sample(policy, *prompts(), preference)
    assert torch.equal(sample(policy, *prompts(extra=5), preference).tokens, expected.tokens)


@pytest.mark.parametrize("by_model", [True, False])
def test_a_response_ends_where_its_prompt_leaves_no_more_room(by_model, monkeypatch):
    policy = shake(SVDLoRA(tiny(), 3, 2), std=0.2)
    monkeypatch.setattr(SVDLoRA, "decodes_by_model", by_model)
    free = sample(policy, *prompts(), torch.tensor([0.4, 0.6]))
    room = torch.tensor([2, 100, 5])
    kept = sample(policy, *prompts(), torch.tensor([0.4, 0.6]), room=room)
    assert kept.tokens.shape == free.tokens.shape
    for row, most in enumerate(room.clamp(max=8).tolist()):
        assert torch.equal(kept.mask[row], free.mask[row] & (torch.arange(8) < most))
        assert torch.equal(kept.tokens[row][kept.mask[row]], free.tokens[row][kept.mask[row]])
        assert (kept.tokens[row][~kept.mask[row]] == PAD).all()
    assert kept.mask.sum(1).tolist() != free.mask.sum(1).tolist()
    with pytest.raises(UserError, match="at least 1, for each prompt"):
        sample(policy, *prompts(), torch.tensor([0.4, 0.6]), room=torch.tensor([0, 3, 3]))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_each_fit_are_sampled_though_the_longest_prompt_and_limit_do_not(family):
    policy = shake(SVDLoRA(tiny(family), 3, 2), std=0.2)
    positions, rows = policy.model.config.max_position_embeddings, preferences(3, 2)
    ids, _ = tokens(3, positions - 2, seed=1)
    mask = torch.ones_like(ids)
    for row, length in enumerate((positions - 2, 4, positions - 5)):
        mask[row, : len(mask[row]) - length] = 0
    ids = ids.masked_fill(mask == 0, PAD)
    room = positions - mask.sum(1)
    together = sample(policy, ids, mask, rows, room=room)
    assert together.mask.sum(1).max() > 2
    for i in range(3):
        alone = sample(
            policy, ids[i : i + 1], mask[i : i + 1], rows[i], KEYS[i : i + 1], room=room[i : i + 1]
        )
        assert torch.equal(alone.tokens, together.tokens[i : i + 1])
        assert torch.equal(alone.mask, together.mask[i : i + 1])
    with pytest.raises(UserError, match="positions"):
        sample(policy, ids, mask, rows, room=room + 1)


def test_a_grid_of_preferences_shares_the_noise_of_a_prompt(policy):
    ids, mask = prompts()
    grid = torch.stack([torch.linspace(0, 1, 11), 1 - torch.linspace(0, 1, 11)], -1)
    tiled = sample(
        policy, ids.repeat(11, 1), mask.repeat(11, 1), grid.repeat_interleave(3, 0), KEYS.repeat(11), seed=3
    )
    for i, preference in enumerate(grid):
        alone = sample(policy, ids, mask, preference, seed=3)
        assert torch.equal(tiled.tokens[3 * i : 3 * i + 3], alone.tokens)


def test_equal_keys_share_noise_and_seeds_differ():
    policy = Policy(tiny())
    ids, mask = tokens(1, 3)
    twice = generate(
        policy, ids.repeat(2, 1), mask.repeat(2, 1), row_keys=torch.tensor([4, 4]), max_new_tokens=8
    )
    assert torch.equal(twice.tokens[0], twice.tokens[1])
    by_seed = {
        tuple(generate(policy, ids, mask, seed=seed, max_new_tokens=8).tokens[0].tolist())
        for seed in range(6)
    }
    assert len(by_seed) > 1


def next_token_counts(draws=4000, **options):
    """Counts of the first sampled token over many keys, and its logits."""
    policy = Policy(tiny(seed=2))
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(1.5)
    ids, mask = tokens(1, 4)
    out = generate(
        policy,
        ids.repeat(draws, 1),
        mask.repeat(draws, 1),
        max_new_tokens=1,
        row_keys=torch.arange(draws),
        **options,
    )
    with torch.no_grad():
        logits = policy(ids, mask)[0, -1].double()
    return torch.bincount(out.tokens[:, 0], minlength=VOCABULARY).double(), logits


@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.0])
def test_sampled_frequencies_match_the_softmax(temperature):
    counts, logits = next_token_counts(temperature=temperature)
    expected = (logits / temperature).softmax(-1) * counts.sum()
    likely = expected > 5
    assert likely.sum() > 5
    # A PAD that log-probs count can come: what is counted is what is sampled.
    assert likely[PAD]
    assert counts[PAD] > 0
    assert counts[~likely].sum() <= 3 * expected[~likely].sum() + 5
    shares = expected[likely] / expected[likely].sum()
    assert stats.chisquare(counts[likely].numpy(), (shares * counts[likely].sum()).numpy()).pvalue > 1e-3


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    counts, logits = next_token_counts(top_p=0.7)
    probabilities, order = logits.softmax(-1).sort(descending=True)
    kept = order[: int((probabilities.cumsum(-1) < 0.7).sum()) + 1]
    assert set(counts.nonzero()[:, 0].tolist()) == set(kept.tolist())


def test_temperature_zero_is_the_arg_max():
    policy = Policy(tiny())
    ids, mask = tokens(3, 4)
    found = generate(policy, ids, mask, max_new_tokens=5, temperature=0, seed=1)
    for row in range(3):
        sequence = ids[row : row + 1]
        for token in found.tokens[row][found.mask[row]]:
            logits = policy(sequence, torch.ones_like(sequence))[0, -1]
            assert token == logits.argmax()
            sequence = torch.cat([sequence, token.view(1, 1)], 1)


def test_responses_end_with_their_first_eos():
    policy = Policy(tiny())
    ids, mask = tokens(1, 3)
    out = generate(policy, ids.repeat(300, 1), mask.repeat(300, 1), max_new_tokens=12, temperature=3.0)
    assert out.tokens.shape == out.mask.shape == (300, 12)
    lengths = out.mask.sum(-1)
    assert lengths.min() >= 1
    assert len(lengths.unique()) > 3
    for row, length in enumerate(lengths.tolist()):
        assert out.mask[row, :length].all()
        assert EOS not in out.tokens[row, : length - 1]
        assert length == 12 or out.tokens[row, length - 1] == EOS
        assert (out.tokens[row, length:] == PAD).all()


def biased(token):
    """A policy that all but always says one token."""
    policy = Policy(tiny("opt"))
    head = torch.nn.Linear(16, VOCABULARY)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(50.0 * (torch.arange(VOCABULARY) == token))
    policy.model.lm_head = head
    return policy


def test_pad_is_a_token_like_any_other_and_ends_nothing():
    """Otherwise the log-probs, which count it, would not be those of what is sampled."""
    ids, mask = tokens(2, 3)
    out = generate(biased(PAD), ids.repeat(50, 1), mask.repeat(50, 1), max_new_tokens=6)
    assert (out.tokens == PAD).all()
    assert out.mask.all()


def test_a_pad_that_is_the_eos_still_ends_a_response():
    policy = biased(EOS)
    policy.model.generation_config.pad_token_id = EOS
    out = generate(policy, *tokens(2, 3), max_new_tokens=6)
    assert out.mask.sum(-1).tolist() == [1, 1]
    assert (out.tokens == EOS).all()


def test_several_eos_and_none():
    policy = biased(BOS)
    policy.model.generation_config.eos_token_id = [EOS, BOS]
    assert generate(policy, *tokens(2, 3), max_new_tokens=6).mask.sum(-1).tolist() == [1, 1]
    policy.model.generation_config.eos_token_id = policy.model.config.eos_token_id = None
    assert generate(policy, *tokens(2, 3), max_new_tokens=6).mask.all()


def test_settings_that_came_with_the_model_are_left_aside_and_kept():
    ids, mask = tokens(2, 3)
    policy = Policy(tiny())
    expected = generate(policy, ids, mask, max_new_tokens=8)
    own = GenerationConfig(
        do_sample=True,
        temperature=0.1,
        top_k=1,
        repetition_penalty=5.0,
        num_beams=2,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )
    policy.model.generation_config = own
    assert torch.equal(generate(policy, ids, mask, max_new_tokens=8).tokens, expected.tokens)
    assert policy.model.generation_config is own


def test_samples_in_evaluation_mode_and_restores_each_module():
    policy = shake(LoRA(tiny(), 2, dropout=0.9))
    policy.train()
    policy.model.model.eval()
    modes = [module.training for module in policy.modules()]
    ids, mask = tokens(2, 3)
    first = generate(policy, ids, mask, max_new_tokens=8)
    assert [module.training for module in policy.modules()] == modes
    assert torch.equal(first.tokens, generate(policy, ids, mask, max_new_tokens=8).tokens)
    policy.enable_gradient_checkpointing()
    assert torch.equal(first.tokens, generate(policy, ids, mask, max_new_tokens=8).tokens)


def test_the_reference_is_sampled_inside_reference():
    base = tiny()
    ids, mask = tokens(2, 3)
    expected = generate(Policy(base), ids, mask, max_new_tokens=8)
    policy = shake(SVDLoRA(base, 3, 2))
    with policy.reference():
        assert torch.equal(generate(policy, ids, mask, max_new_tokens=8).tokens, expected.tokens)


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": 1e-40},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"row_keys": torch.arange(3)},
        {"row_keys": torch.rand(2)},
        {"max_new_tokens": 100},
        {"preference": None},
        {"attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])},
        {"attention_mask": torch.ones(2, 4)},
    ],
)
def test_refuses_bad_input(options):
    policy = SVDLoRA(tiny(), 2, 2)
    ids, mask = tokens(2, 3)
    arguments = {
        "attention_mask": mask,
        "max_new_tokens": 4,
        "preference": torch.tensor([0.5, 0.5]),
    } | options
    with pytest.raises(UserError):
        generate(policy, ids, **arguments)


class ByForward(Policy):
    """Its logits are its own: the model's, of which one token's are raised by the preference's first weight."""

    m = 2

    def __init__(self, model, raised=5, by=0.0):
        super().__init__(model)
        self.raised, self.by = raised, by

    def forward(self, input_ids, attention_mask, preference=None, *, last=0):
        logits = super().forward(input_ids, attention_mask, preference, last=last)
        shift = torch.nn.functional.one_hot(torch.tensor(self.raised), logits.shape[-1])
        first = torch.zeros(len(logits)) if preference is None else preference.expand(len(logits), 2)[:, 0]
        return logits + self.by * first[:, None, None] * shift


class ByRun(Policy):
    """The same by the model's output."""

    def run(self, input_ids, attention_mask, last=0, **options):
        return super().run(input_ids, attention_mask, last, **options)


def test_a_policy_whose_logits_are_its_models_is_sampled_by_the_models_own_loop():
    assert Policy(tiny()).decodes_by_model
    assert SVDLoRA(tiny(), 2, 2).decodes_by_model
    heads = Heads(tiny(), 2, 2)
    assert heads.head(0).decodes_by_model
    assert not ByForward(tiny()).decodes_by_model
    assert not ByRun(tiny()).decodes_by_model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [ByForward, ByRun])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"temperature": 3.0, "top_p": 0.8, "seed": 4}])
def test_one_with_logits_of_its_own_is_sampled_alike_where_they_are_the_models(family, kind, options):
    ids, mask = prompts(extra=2)
    ids, mask, keys = ids.repeat(20, 1), mask.repeat(20, 1), torch.arange(60)
    expected = sample(Policy(tiny(family)), ids, mask, torch.tensor([0.5, 0.5]), keys, **options)
    found = sample(kind(tiny(family)), ids, mask, torch.tensor([0.5, 0.5]), keys, **options)
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.mask, expected.mask)
    if options.get("temperature") == 3.0:
        assert len(found.mask.sum(-1).unique()) > 3, "some end early"


def test_one_with_logits_of_its_own_is_sampled_from_them():
    """Each row by its own preference, padded or not: the arg max of what `forward` gives."""
    policy = ByForward(tiny(), by=8.0)
    ids, mask = prompts(extra=1)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = sample(policy, ids, mask, rows, temperature=0)
    plain = sample(Policy(tiny()), ids, mask, rows, temperature=0)
    for i in range(3):
        sequence = ids[i][mask[i].bool()][None]
        for token in found.tokens[i][found.mask[i]]:
            logits = policy(sequence, torch.ones_like(sequence), rows[i])[0, -1]
            assert token == logits.argmax()
            sequence = torch.cat([sequence, token.view(1, 1)], 1)
    assert not torch.equal(found.tokens[0], plain.tokens[0])
    assert torch.equal(found.tokens[1], plain.tokens[1])
    with torch.no_grad():
        expected = sample(policy, ids[:1], mask[:1], rows[0], KEYS[:1], seed=2)
    assert torch.equal(sample(policy, ids, mask, rows, seed=2).tokens[0], expected.tokens[0])
