"""The preference in the prompt: the tokens that stand there, and that nothing else differs from LoRA on such texts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.errors import UserError
from lightning_moa.methods import Panacea
from lightning_moa.objectives import DPO
from lightning_moa.policies import LoRA, PromptedLoRA, generate, load_policy, response_logps
from lightning_moa.policies.prompted import spelled
from lightning_moa.policies.settings import AdapterConfig, RiCConfig
from lightning_moa.world.lexicon import SPECIAL
from lightning_moa.world.tokenizer import build_tokenizer
from tests.methods.fitting import adam, labelled, train
from tests.objectives.batches import pairs
from tests.objectives.rollouts import centred, ppo, prompts
from tests.policies.models import preferences, shake, tiny, tokens
from tests.small_tokenizers import byte_level

SYMBOLS = " <r>.0123456789"


class Letters:
    """A token for each letter of weights and markers."""

    unk_token_id = None

    def __call__(self, texts, add_special_tokens, split_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [[3 + SYMBOLS.index(letter) for letter in text] for text in texts]}


PIECES = spelled(RiCConfig(), Letters(), 2)


def letters(text):
    return [3 + SYMBOLS.index(letter) for letter in text]


def prompted(seed=0, **options):
    return shake(PromptedLoRA(tiny(), 2, pieces=PIECES, seed=seed, **options), seed)


def twin(seed=0):
    """LoRA with the same weights."""
    policy = LoRA(tiny(), 2, seed=seed)
    policy.load_trained_state(prompted(seed).trained_state())
    return policy


@pytest.mark.parametrize("rows", [None, [[0.25, 0.75], [1.0, 0.0], [0.0, 1.0], [0.64, 0.36]]])
@pytest.mark.parametrize("last", [0, 1, 4])
def test_it_is_lora_on_texts_with_the_weights_in_front(rows, last):
    """.25 is written 0.2, as rounding to the even has it."""
    ids, mask = tokens()
    preference = torch.tensor([0.25, 0.75]) if rows is None else torch.tensor(rows)
    texts = ["<r1> 0.2 <r2> 0.8"] * 4
    if rows is not None:
        texts[1:] = ["<r1> 1.0 <r2> 0.0", "<r1> 0.0 <r2> 1.0", "<r1> 0.6 <r2> 0.4"]
    written = torch.tensor([letters(text) for text in texts])
    whole = torch.cat([written, ids], dim=1)
    wanted = twin()(whole, torch.ones_like(whole))[:, -ids.shape[1] :]
    found = prompted()(ids, mask, preference, last=last)
    torch.testing.assert_close(found, wanted[:, -last:], atol=1e-4, rtol=1e-4)


def test_padding_on_either_side_moves_nothing():
    policy, preference = prompted(), torch.tensor([0.3, 0.7])
    ids, mask = tokens(2, 5)
    alone = policy(ids, mask, preference)
    left = torch.nn.functional.pad(ids, (3, 0)), torch.nn.functional.pad(mask, (3, 0))
    torch.testing.assert_close(policy(*left, preference)[:, 3:], alone, atol=1e-5, rtol=1e-4)
    right = torch.nn.functional.pad(ids, (0, 3)), torch.nn.functional.pad(mask, (0, 3))
    torch.testing.assert_close(policy(*right, preference)[:, :5], alone, atol=1e-5, rtol=1e-4)


def test_weights_of_different_length_are_padded_and_hidden_states_cut():
    """As "1" and "0.5" would be: a piece may have any number of tokens."""
    policy = shake(PromptedLoRA(tiny(), 2, pieces=[[[5], [5, 6, 7]], [[8, 9], [8]]], seed=0))
    ids, mask = tokens(1, 4)
    whole = torch.cat([torch.tensor([[5, 6, 7, 8, 9]]), ids], dim=1)
    other = LoRA(tiny(), 2, seed=0)
    other.load_trained_state(policy.trained_state())
    wanted = other(whole, torch.ones_like(whole))[:, 5:]
    torch.testing.assert_close(policy(ids, mask, torch.tensor([1.0, 0.0])), wanted, atol=1e-5, rtol=1e-4)
    with policy.steered(torch.tensor([1.0, 0.0])):
        out = policy.run(ids, mask, 0, output_hidden_states=True)
    assert {each.shape[1] for each in out.hidden_states} == {4}


def test_on_a_grid_of_preferences_its_weights_are_worked_out_once():
    policy, rows = prompted(), torch.eye(2).repeat_interleave(2, 0)
    with torch.no_grad():
        free = policy(*tokens(), rows)
        with policy.steered(rows), policy.held():
            torch.testing.assert_close(policy(*tokens(), rows), free)


def test_its_reference_reads_no_weights_and_is_the_base():
    policy = prompted()
    with policy.reference():
        torch.testing.assert_close(policy(*tokens()), tiny()(*tokens()).logits)


def test_it_is_sampled_as_it_is_asked_whatever_stands_beside_it_in_the_batch():
    policy, batch, rows = prompted(), prompts(4), preferences(4, 2)
    said = generate(policy, batch.input_ids, batch.attention_mask, preference=rows, max_new_tokens=4)
    for row in range(4):
        one = generate(
            policy,
            batch.input_ids[row : row + 1],
            batch.attention_mask[row : row + 1],
            preference=rows[row],
            max_new_tokens=4,
            row_keys=torch.tensor([row]),
        )
        assert torch.equal(one.tokens[0], said.tokens[row])


def test_it_is_saved_with_its_spelling(tmp_path):
    prompted().save(tmp_path, objectives=["kind", "brief"])
    again = load_policy(tiny(), tmp_path)
    rows = preferences(4, 2)
    assert torch.equal(again(*tokens(), rows), prompted()(*tokens(), rows))


def test_by_dpo_and_by_ppo_it_learns_to_follow_the_preference():
    """With labels that disagree everywhere, each preference's better response becomes the likelier one."""
    words = [[[3], [4], [5]], [[6], [7], [8]]]
    policy = PromptedLoRA(tiny(), 8, pieces=words, seed=0)
    batch = pairs([[1.0, 0.0]] * 8, reference=LoRA(tiny(), 2, seed=0))
    drawn = {"concentration": 0.3, "preferences_per_batch": 8}
    train(Panacea(policy, DPO(0.3), Linear(), adam(1e-2), m=2, seed=0, **drawn), [batch] * 60)

    def margin(preference):
        inputs = (batch.input_ids, batch.attention_mask, batch.response_mask)
        first, second = (response_logps(policy, *inputs, preference) - batch.ref_logps).chunk(2)
        return float((second - first).mean().detach())

    assert margin(torch.tensor([1.0, 0.0])) > 2
    assert margin(torch.tensor([0.0, 1.0])) < -2
    objective = ppo(2, rules=centred(2), critic_m=2, weigh="advantages")
    train(Panacea(prompted(), objective, Linear(), adam(1e-2), m=2, seed=0), [prompts(4)] * 2)
    assert torch.isfinite(objective.logs()["kl_k1"])


def test_a_study_builds_it_from_the_tokenizer_and_plans_its_words():
    words = PromptedLoRA.vocabulary(lambda name: RiCConfig(), ["kind", "brief"])
    assert words[:3] == ["<r1>", "<r2>", "0.0"]
    tokenizer = build_tokenizer([*SPECIAL, *words])
    run = SimpleNamespace(
        m=2,
        seed=0,
        options={},
        model=tiny(),
        tokenizer=tokenizer,
        section=lambda name: {"adapter": AdapterConfig(rank=2), "ric": RiCConfig()}[name],
    )
    policy = PromptedLoRA.build(run)
    assert tokenizer.decode(policy.pieces[1][3]) == "<r2> 0.3"
    assert policy.ids.shape == (2, 11, 2)
    with pytest.raises(UserError, match="the tokenizer can't spell '<r1>'"):
        spelled(RiCConfig(), build_tokenizer([*SPECIAL, "some"]), 2)
    of_bytes = byte_level()
    assert of_bytes.decode([*spelled(RiCConfig(), of_bytes, 3)[2][10]]) == " <r3> 1.0"
    run.tokenizer, run.model = None, tiny()
    assert PromptedLoRA.build(run).ids.shape == (2, 11, 2), "as a forecast has it"


def test_there_is_nothing_to_export():
    with pytest.raises(UserError, match="nothing to export or merge"):
        prompted().merge(torch.tensor([0.5, 0.5]))


def test_learned_positions_end():
    policy = PromptedLoRA(tiny("opt", max_positions=20), 2, pieces=PIECES, seed=0, targets="all-linear")
    with pytest.raises(UserError, match="take 27 positions; the model has 20"):
        policy(*tokens(), torch.tensor([0.5, 0.5]))


def test_labelled_rows_are_those_of_any_policy():
    policy, rows = prompted(), preferences(2, 2)
    batch = labelled(4)
    assert DPO(0.3).losses(policy, batch, rows).shape == (2, 2)
