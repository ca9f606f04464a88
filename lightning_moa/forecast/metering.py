"""Counts the memory that a piece of real code would take, by running it with weights on the meta device.

A meta tensor has a shape and no memory, so a model of any size goes through its passes in a second, and what autograd
keeps and frees is what it would keep and free. `Meter` adds up the storages that are alive. What comes from data (token
ids, masks, labels, rewards) is real and on the CPU, so that what hangs on its values is worked out as in training. Not
counted: those data, what a kernel takes for itself, and what an allocator loses to rounding and to holes.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "counted"

_aten = torch.ops.aten
_INDEXED = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)


class Meter(TorchDispatchMode):
    """Bytes of the meta tensors that code inside the block makes and keeps.

    Tensors that were there before count for nothing, and neither do views of them. Meta and CPU tensors may meet: the
    result is a meta one. A number asked of a meta tensor is 1, a truth is true.

    Attributes:
        live: bytes alive now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self._peak = 0
        self._known: dict[int, Any] = {}

    def __enter__(self) -> Meter:
        # torch knows no autocast of the meta device, and raises where it is asked for one.
        self._former, torch.is_autocast_enabled = torch.is_autocast_enabled, _autocasts
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch.is_autocast_enabled = self._former

    def peak(self) -> int:
        """The most bytes that were alive since the last call; the next begins with what is alive now."""
        peak, self._peak = self._peak, self.live
        return peak

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap each call, to keep its compiler out. Nothing is compiled here.
        return False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [*_tensors(args), *_tensors(kwargs.values())]
        if any(leaf.is_meta for leaf in given):
            if function is _aten._local_scalar_dense.default:
                return True if args[0].dtype == torch.bool else 1.0
            for leaf in given:
                self._see(leaf, made=False)
            if not all(leaf.is_meta for leaf in given):
                args, kwargs = _all_meta(function, args, kwargs)
            result = shapes_alone(function, args, kwargs)
        else:
            result = function(*args, **kwargs)
        for leaf in _tensors((result,)):
            self._see(leaf, made=True)
        return result

    def _see(self, tensor: Tensor, made: bool) -> None:
        if not tensor.is_meta:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if made else 0
        self.live += size
        self._peak = max(self._peak, self.live)
        self._known[key] = weakref.ref(storage, partial(self._gone, key, size))

    def _gone(self, key: int, size: int, _: Any) -> None:
        self.live -= size
        self._known.pop(key, None)


_OUTPUTS: dict[Any, Any] = {}
"""What operations on meta tensors have come to: a call -> shapes, strides and types."""


def shapes_alone(function: Any, args: Any, kwargs: Any) -> Any:
    """`function(*args, **kwargs)` on meta tensors. Layers are alike, and torch works out many an operation's shapes in
    Python: what is no view is worked out once."""
    schema = function._schema
    in_place = schema.is_mutable and schema.name.endswith("_") and isinstance(args[0], Tensor)
    if not in_place and (schema.is_mutable or any(each.alias_info is not None for each in schema.returns)):
        return function(*args, **kwargs)
    call = (function, _described(args), _described(tuple(sorted(kwargs.items()))))
    try:
        known = _OUTPUTS.get(call)
    except TypeError:
        # An argument that can't be a key.
        return function(*args, **kwargs)
    if in_place:
        return args[0] if known is not None else _in_place(call, function, args, kwargs)
    if known is None:
        result = function(*args, **kwargs)
        outputs = result if isinstance(result, tuple) else (result,)
        if all(isinstance(each, Tensor) and each.is_meta for each in outputs):
            # Some return their input's storage, whatever their schema says.
            given = {each.untyped_storage()._cdata for each in _tensors((*args, *kwargs.values()))}
            if not any(each.untyped_storage()._cdata in given for each in outputs):
                shapes = [(each.shape, each.stride(), each.dtype) for each in outputs]
                _OUTPUTS[call] = isinstance(result, tuple), shapes
        return result
    several, outputs = known
    made = tuple(
        torch.empty_strided(shape, stride, dtype=dtype, device="meta") for shape, stride, dtype in outputs
    )
    return made if several else made[0]


def _in_place(call: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """The same of what writes into its first argument; remembered where that stays as it is but for its values."""
    before = _described(args[0]), args[0].untyped_storage()._cdata
    result = function(*args, **kwargs)
    if before == (_described(args[0]), args[0].untyped_storage()._cdata):
        _OUTPUTS[call] = True, []
    return result


def _described(value: Any) -> Any:
    """All of an argument that its result's shape can hang on."""
    if isinstance(value, Tensor):
        return (value.shape, value.stride(), value.dtype, value.is_meta)
    if isinstance(value, (tuple, list)):
        return tuple(_described(each) for each in value)
    return type(value), value


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


_is_autocast_enabled = torch.is_autocast_enabled


def _autocasts(device_type: str | None = None) -> bool:
    if device_type is None:
        return _is_autocast_enabled()
    return device_type != "meta" and _is_autocast_enabled(device_type)


def _all_meta(function: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    if function in _INDEXED:
        # A mask's entries are known, so that the number of places that it takes is, too.
        args = (args[0], [place for index in args[1] for place in _places(index)], *args[2:])
    return tree_map(_as_meta, args), tree_map(_as_meta, kwargs)


def _places(index: Tensor | None) -> list[Tensor | None]:
    """A mask of n dimensions as the n positions of each place that it takes; anything else as it is."""
    if index is None or index.is_meta or index.dtype != torch.bool:
        return [index]
    return list(index.nonzero(as_tuple=True))


def _as_meta(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf


class _Attention(torch.autograd.Function):
    """What fused attention keeps: its inputs, its output and a number for each row of scores. No scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **_: Any
) -> tuple[Tensor, None]:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        # As transformers does under a mask, which padded batches have.
        key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    attended: Tensor = _Attention.apply(query, key, value)
    return attended.transpose(1, 2).contiguous(), None


def count_fused_attention(model: PreTrainedModel) -> None:
    """Let a meta model's attention count as the fused kernels of GPUs and CPUs, linear in the tokens.

    On the meta device torch would take the path that forms all scores. Architectures that know no other path than that
    (DeBERTa) keep it.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    if getattr(model, "_supports_sdpa", False):
        model.set_attn_implementation(ATTENTION)


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """A transformer's layers: the first list of modules, which what comes before and after them has none of."""
    return next(module for module in model.modules() if isinstance(module, nn.ModuleList))


@contextmanager
def marking(block: nn.Module, mark: Any) -> Iterator[None]:
    """Call `mark()` when, inside the context, a backward pass arrives at the output of a block."""

    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: mark())

    handle = block.register_forward_hook(watch)
    try:
        yield
    finally:
        handle.remove()
