"""What a policy from outside promises about saving, checked before its training."""

from __future__ import annotations

import tempfile

import torch

from lightning_moa.errors import UserError
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
        try:
            with policy.reference():
                reference = logits(policy)
            policy.save(f"{folder}/first")
            with torch.no_grad(), shaken(policy):
                expected = logits(policy)
                policy.save(f"{folder}/shaken")
            policy.unload()
            if not torch.equal(logits(Policy(model)), reference):
                raise BrokenContract(
                    f"{name}.unload: the model's own logits are expected afterwards, others came; it must take out all "
                    "that the policy has put in"
                )
            again = load_policy(model, f"{folder}/shaken", kind=kind)
            came = logits(again)
            if not torch.allclose(came, expected, atol=1e-5):
                worst = float((came - expected).abs().max())
                raise BrokenContract(
                    f"{name}: a loaded policy must equal the saved one; its logits differ by {worst:.3g}. What "
                    "`trained_state` and `options` leave out is lost"
                )
            again.unload()
            loaded: Policy = load_policy(model, f"{folder}/first", kind=kind)
        except UserError:
            raise
        except (TypeError, KeyError, AttributeError, RuntimeError) as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            raise BrokenContract(
                f"{name}: it cannot be saved and loaded again ({type(error).__name__}: {first})"
            ) from error
    return loaded.train(policy.training)
