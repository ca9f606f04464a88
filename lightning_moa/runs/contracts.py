"""What a policy from outside promises about saving, checked before its training."""

from __future__ import annotations

import tempfile

import torch

from lightning_moa.methods.contracts import BrokenContract, shaken
from lightning_moa.policies import Policy, load_policy
from lightning_moa.policies.generation import evaluating
from lightning_moa.processes import together


def check_saving(policy: Policy) -> Policy:
    """A loaded policy equals the saved one, and one that is unloaded leaves the model as it was.

    Policies of this package are held to that by its tests, and are given back as they are; so are those that several
    processes train. Of another one a copy comes back that was saved and loaded again.

    Raises:
        BrokenContract: names the class, what was expected and what came.
    """
    kind, model = type(policy), policy.model
    if kind.__module__.partition(".")[0] == "lightning_moa" or together():
        return policy
    name = kind.__name__
    row = torch.arange(1, 9, device=model.device)[None] % model.config.vocab_size
    ask = None if not policy.m else torch.full((policy.m,), 1 / policy.m, device=model.device)

    def logits(each: Policy) -> torch.Tensor:
        with torch.no_grad(), evaluating(each):
            return each(row, torch.ones_like(row), ask)

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        with policy.reference():
            reference = logits(policy)
        with torch.no_grad(), shaken(policy):
            expected = logits(policy)
            _saved(policy, f"{folder}/shaken")
        _saved(policy, f"{folder}/first")
        policy.unload()
        if not torch.equal(logits(Policy(model)), reference):
            raise BrokenContract(
                f"{name}.unload: the model's own logits are expected afterwards, others came; it must take out all "
                "that the policy has put in"
            )
        again = _loaded(policy, f"{folder}/shaken")
        came = logits(again)
        if not torch.allclose(came, expected, atol=1e-5):
            worst = float((came - expected).abs().max())
            raise BrokenContract(
                f"{name}: a loaded policy must equal the saved one; its logits differ by {worst:.3g}. What "
                "`trained_state` and `options` leave out is lost"
            )
        again.unload()
        return _loaded(policy, f"{folder}/first").train(policy.training)


def _saved(policy: Policy, folder: str) -> None:
    try:
        policy.save(folder)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise BrokenContract(f"{type(policy).__name__}.save: {_first_line(error)}") from error


def _loaded(policy: Policy, folder: str) -> Policy:
    try:
        loaded: Policy = load_policy(policy.model, folder, kind=type(policy))
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise BrokenContract(
            f"{type(policy).__name__}, saved and loaded again: {_first_line(error)}"
        ) from error
    return loaded


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
