"""A step of training at any size on a laptop: weights without values, data with them.

Weights are on torch's meta device, where a tensor has a shape and a type and nothing else. What comes from data (token
ids, masks, labels, rewards) is real and on the CPU, so that what hangs on its values, such as how many response tokens
there are, is worked out as in training. Inside `Shapes` the two may meet: the result is a shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_moa.forecast.metering import shapes_alone

aten = torch.ops.aten
_INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)


class Shapes(TorchDispatchMode):
    """Lets meta and CPU tensors meet. A number asked of a shape is 1, a truth is true: training asks whether a KL is
    finite and small, and whether a gradient is anything but 0."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # As in `metering.Meter`.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kinds = {tensor.is_meta for tensor in _tensors((*args, *kwargs.values()))}
        if True not in kinds:
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            return True if args[0].dtype == torch.bool else 1.0
        if kinds == {True}:
            return shapes_alone(func, args, kwargs)
        if func in _INDEXED:
            # A mask's entries are known, so that the number of places that it takes is, too.
            args = (args[0], [place for index in args[1] for place in _places(index)], *args[2:])
        assert not func._schema.is_mutable or args[0].is_meta, f"{func} writes a shape into real values"
        given = dict(zip(kwargs, _as_shapes(kwargs.values()), strict=True))
        return shapes_alone(func, tuple(_as_shapes(args)), given)


def _tensors(arguments: Any) -> Iterator[Tensor]:
    for each in arguments:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from _tensors(each)


def _as_shapes(arguments: Any) -> list[Any]:
    return [
        each.to("meta")
        if isinstance(each, Tensor)
        else _as_shapes(each)
        if isinstance(each, (list, tuple))
        else each
        for each in arguments
    ]


def _places(index: Tensor | None) -> list[Tensor | None]:
    """A mask of n dimensions as the n positions of each place that it takes; anything else as it is."""
    if index is None or index.dtype != torch.bool:
        return [index]
    return list(index.nonzero(as_tuple=True))
