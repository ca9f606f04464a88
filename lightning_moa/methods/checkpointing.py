"""What a checkpoint of a method holds besides the policy's trained weights and their optimiser.

The same for a study's own resuming (`runs/resuming.py`) and for a `Trainer` of one's own, whose checkpoint keeps it
under `alignment`: the objective's own weights, optimiser and schedule (PPO's critic), what method and aggregation count
(Lagrange multipliers, HaM's warm-up), what a watch has seen, and the batches that wait for the rest of their update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_moa import batches
from lightning_moa.errors import UserError
from lightning_moa.policies.base import misfit
from lightning_moa.processes import rank, world_size

if TYPE_CHECKING:
    from lightning_moa.methods.base import Alignment

KEY = "alignment"
"""Of a Lightning checkpoint."""
AVERAGED = "current_model_state"
"""There where Lightning's `WeightAveraging` has put the average of all weights in the place of the module's."""


def own_state(module: Alignment) -> dict[str, Any]:
    """What a method has besides the policy and its optimiser: tensors, numbers and texts, lists and dictionaries."""
    own, aggregator = module.own_optimiser, _with_state(module.aggregator)
    return {
        "objectives": None if module.names is None else list(module.names),
        "objective": module.objective.state_dict(),
        "own_optimiser": None if own is None else own.state_dict(),
        "own_schedule": None if module.own_schedule is None else module.own_schedule.state_dict(),
        "method": dict(_buffers(module)),
        "watch": None if module.watch is None else module.watch.state_dict(),
        "aggregator": None if aggregator is None else aggregator.state_dict(),
    }


def load_own_state(module: Alignment, state: Mapping[str, Any]) -> None:
    """Take over what `own_state` gave, optimisers being there already.

    Raises:
        UserError: their states, which were taken over before, are another optimiser's.
    """
    module.objective.load_state_dict(state["objective"])
    if module.own_optimiser is not None:
        module.own_optimiser.load_state_dict(state["own_optimiser"])
    if module.own_schedule is not None:
        module.own_schedule.load_state_dict(state["own_schedule"])
    with torch.no_grad():
        for name, buffer in _buffers(module):
            buffer.copy_(state["method"][name])
    # One that was put in meanwhile begins here.
    if module.watch is not None and state["watch"] is not None:
        module.watch.load_state_dict(state["watch"])
    aggregator = _with_state(module.aggregator)
    if aggregator is not None:
        aggregator.load_state_dict(state["aggregator"])
    for optimiser in (*module.trainer.optimizers, module.own_optimiser):
        _check_settings(optimiser)


def _check_settings(optimiser: Any) -> None:
    """torch takes over another class's settings without a word, and ends in a KeyError at the next step."""
    # Loading a state adds one to the defaults that groups of an optimiser not torch's own may not have.
    needed = set(getattr(optimiser, "defaults", ())) - {"differentiable"}
    for group in getattr(optimiser, "param_groups", ()):
        if lacking := sorted(needed - set(group)):
            raise UserError(
                f"the checkpoint is of another optimiser than {type(optimiser).__name__}: it has no"
                f" {', '.join(lacking)}; allowed is the one that it was written with"
            )


def checked(module: Alignment, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a Lightning checkpoint has under `KEY`, if it is one of such a module.

    Raises:
        UserError: another module's; trained tensors that this one has not, or the other way round, or of other shapes;
            other objectives.
    """
    kind = type(module).__name__
    if KEY not in checkpoint:
        raise UserError(f"the checkpoint holds no {KEY!r}: it is not one of {kind}'s")
    kept: dict[str, Any] = checkpoint[KEY]
    names = kept.get("objectives")
    if names and module.names and list(module.names) != list(names):
        raise UserError(
            f"the checkpoint is of the objectives {', '.join(names)}, this {kind} of {', '.join(module.names)}"
        )
    if AVERAGED not in checkpoint:
        wrong = misfit(trained_only(module, module.state_dict()), checkpoint["state_dict"])
        if wrong is not None:
            raise UserError(
                f"the checkpoint's weights do not fit this {type(module.policy).__name__}: {wrong}"
            )
    return kept


def trained_only(module: Alignment, state: Mapping[str, Any]) -> dict[str, Any]:
    """Of a module's `state_dict` what is trained, and what the method itself keeps: not the frozen base."""
    kept = {name for name, value in module.named_parameters() if value.requires_grad}
    kept |= {name for name, _ in _buffers(module)}
    return {name: value for name, value in state.items() if name in kept}


def random_state() -> dict[str, Any]:
    """Of this process's generators."""
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "gpu": gpu}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Take over what `random_state` gave."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["gpu"] is not None:
        torch.cuda.set_rng_state(state["gpu"].cpu())


def own_part(parts: list[Any]) -> Any:
    """This process's part of a checkpoint that has one for each.

    Raises:
        UserError: another number of processes than wrote it.
    """
    if len(parts) != world_size():
        raise UserError(
            f"the checkpoint was written by {len(parts)} processes, and {world_size()} go on from it: as many must"
        )
    return parts[rank()]


def packed(value: Any) -> Any:
    """Batches, rollouts and lists of them as what `torch.load(weights_only=True)` reads; tensors without gradient.

    Raises:
        UserError: a part of another kind.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if is_dataclass(value) and type(value).__module__ == batches.__name__:
        content = {each.name: packed(getattr(value, each.name)) for each in fields(value)}
        return {"batch": type(value).__name__, "content": content}
    if isinstance(value, list | tuple):
        return [packed(each) for each in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise UserError(
        f"a checkpoint in the middle of an update can't hold a {type(value).__name__}; save between updates, or with "
        "accumulate=1"
    )


def unpacked(value: Any, device: torch.device) -> Any:
    """What `packed` was given, on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        kind = getattr(batches, value["batch"])
        return kind(**{name: unpacked(each, device) for name, each in value["content"].items()})
    return [unpacked(each, device) for each in value] if isinstance(value, list) else value


def _with_state(aggregator: Any) -> Any:
    """The aggregator, where it keeps anything from one update to the next; else None."""
    return aggregator if hasattr(aggregator, "state_dict") else None


def _buffers(module: Alignment) -> Iterator[tuple[str, Tensor]]:
    """What a method itself keeps, such as Lagrange multipliers, and what its policy does."""
    for name, buffer in module.named_buffers():
        if not name.startswith("policy."):
            yield name, buffer
    for name, buffer in module.policy.kept_buffers():
        yield f"policy.{name}", buffer
