"""DPO's losses per objective: against TRL's trainer, by hand, and under unknown labels, reversal and groups."""

import math

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.objectives import DPO, dpo_losses
from lightning_moa.objectives.dpo import implicit_margins
from lightning_moa.policies import Policy, SVDLoRA, response_logps
from tests.objectives.batches import NAN, pairs, share
from tests.policies.models import preferences, shake, tiny

BETA = 0.3
LABELS = [[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


@pytest.fixture(scope="module")
def policy():
    return shake(SVDLoRA(tiny(), k=2, m=3, seed=0))


@pytest.fixture(scope="module")
def reference():
    return Policy(tiny()).requires_grad_(False)


def log1pexp(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory):
    """TRL's own loss of pairs whose better response is named by labels (batch,)."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(24)}, unk_token="t3"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="t0", bos_token="t1", eos_token="t2"
    )
    trainer = DPOTrainer(
        model=tiny(seed=1),
        ref_model=tiny(),
        args=DPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            report_to=[],
            use_cpu=True,
            bf16=False,
            beta=BETA,
            disable_tqdm=True,
        ),
        # The trainer wants rows to start with; the losses below are taken on batches of our own.
        train_dataset=Dataset.from_dict({"prompt": ["t5 t6 "], "chosen": ["t7"], "rejected": ["t8"]}),
        processing_class=tokenizer,
    )

    def loss(batch, labels):
        pairs_count = len(labels)
        better = labels.long() * pairs_count + torch.arange(pairs_count)
        order = torch.cat([better, (better + pairs_count) % (2 * pairs_count)])
        return trainer.compute_loss(
            trainer.model,
            {
                "input_ids": batch.input_ids[order],
                "attention_mask": batch.attention_mask[order].long(),
                "completion_mask": batch.response_mask[order].long(),
            },
        )

    return loss


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_each_objective_is_trls_loss_with_its_labels(trl_loss, reference):
    batch = pairs(LABELS, reference=reference)
    losses = DPO(BETA).losses(Policy(tiny(seed=1)), batch, None)
    expected = torch.stack([trl_loss(batch, batch.labels[:, i]) for i in range(3)])
    assert len(set(expected.tolist())) == 3
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)


def test_losses_by_hand():
    margins = torch.tensor([2.0, -1.0])
    losses = dpo_losses(margins, torch.tensor([[1.0, 0.0], [1.0, NAN]]))
    expected = [[log1pexp(-2.0), log1pexp(2.0)], [log1pexp(1.0), math.log(2)]]
    torch.testing.assert_close(losses, torch.tensor(expected))


@pytest.mark.parametrize(
    ("beta", "likelihood"), [(-1.0, 0.0), (0.0, 0.0), (NAN, 0.0), (math.inf, 0.0), (0.1, -1.0), (0.1, NAN)]
)
def test_a_weight_that_nothing_can_be_learned_with_is_refused(beta, likelihood):
    with pytest.raises(UserError, match="must be a finite number"):
        DPO(beta, likelihood)


def test_margins_by_hand():
    logps, ref_logps = torch.tensor([-3.0, -5.0, -4.0, -1.0]), torch.tensor([-2.0, -5.0, -6.0, -2.0])
    # Ratios of responses 0: -1, 0; of responses 1: 2, 1.
    assert implicit_margins(logps, ref_logps, 0.5).tolist() == [1.5, 0.5]


def test_at_the_reference_every_loss_is_log_two(reference):
    losses = DPO(BETA).losses(reference, pairs(LABELS, reference=reference), None)
    torch.testing.assert_close(losses, torch.full((3,), math.log(2)))


def test_an_unknown_label_gives_no_loss_and_no_gradient(policy, reference):
    labels = [[NAN, 1.0, 0.0], [NAN, NAN, 1.0]]
    batch, preference = pairs(labels, reference=reference), preferences(1, 3)[0]
    losses = DPO(BETA, likelihood=0.1).losses(policy, batch, preference)
    assert losses[0].item() == 0.0
    alone = DPO(BETA, likelihood=0.1).losses(policy, share(batch, slice(0, 1)), preference)
    torch.testing.assert_close(losses[1], alone[1])
    gradients = torch.autograd.grad(losses.sum(), policy.trainable_parameters(), retain_graph=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    unknown = torch.autograd.grad(losses[0], policy.trainable_parameters(), allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in unknown)


def test_reversed_labels_are_swapped_responses(policy, reference):
    batch, preference = pairs(LABELS, reference=reference), preferences(1, 3)[0]
    reversed_labels = share(batch, slice(None))
    reversed_labels.labels = 1 - batch.labels
    swapped = share(batch, slice(None))
    for name in ("input_ids", "attention_mask", "response_mask", "ref_logps"):
        first, second = getattr(batch, name).chunk(2)
        setattr(swapped, name, torch.cat([second, first]))
    objective = DPO(BETA, likelihood=0.2)
    torch.testing.assert_close(
        objective.losses(policy, reversed_labels, preference), objective.losses(policy, swapped, preference)
    )


def test_the_two_losses_of_a_pair_differ_by_its_margin():
    """-log sigma(x) + log sigma(-x) = -x."""
    margins = torch.tensor([2.5])
    both = dpo_losses(margins, torch.tensor([[0.0, 1.0]]))[0]
    assert (both[0] - both[1]).item() == pytest.approx(2.5)


@pytest.mark.parametrize("likelihood", [0.0, 0.3])
def test_groups_equal_separate_calls(policy, reference, likelihood):
    labels = [list(row) for row in LABELS]
    labels[1][0] = NAN
    batch, given = pairs(labels, reference=reference), preferences(2, 3)
    objective = DPO(BETA, likelihood)
    losses = objective.losses(policy, batch, given)
    assert losses.shape == (2, 3)
    for group, preference in enumerate(given):
        part = share(batch, slice(2 * group, 2 * group + 2))
        torch.testing.assert_close(losses[group], objective.losses(policy, part, preference))


def test_the_likelihood_term_is_the_better_responses_loss_per_token(policy, reference):
    batch, preference = pairs(LABELS, reference=reference), preferences(1, 3)[0]
    added = DPO(BETA, 0.25).losses(policy, batch, preference) - DPO(BETA).losses(policy, batch, preference)
    logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, preference)
    per_token = (logps / batch.response_mask.sum(1)).tolist()
    expected = [
        -0.25 * sum(per_token[row + 4 * int(LABELS[row][i])] for row in range(4)) / 4 for i in range(3)
    ]
    torch.testing.assert_close(added, torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_reference_log_probs_are_needed(policy):
    with pytest.raises(ValueError, match="ref_logps"):
        DPO(BETA).losses(policy, pairs(LABELS), preferences(1, 3)[0])


def test_margins_need_the_references_log_probs():
    with pytest.raises(UserError, match="the batch has no ref_logps: a TrainingData"):
        implicit_margins(torch.zeros(4), None, 0.1)
