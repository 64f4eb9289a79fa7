"""Recording: the activations of every layer of a network, as one row of units per sample.

A layer is one call of a leaf module (a module without children; see ``layer_modules``). Every call counts: a ReLU
that is used twice gives ``relu`` and ``relu#2``. A tensor inside a tuple, list or dict output is a layer of its own
(``name[0]``). Functional operations (``x + y``, ``F.relu(x)``) call no module and are not seen.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from pytorch.errors import InputError

COPYING_MODULES = (
    nn.Identity, nn.Flatten, nn.Unflatten,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
"""Modules that in evaluation mode repeat their input: their layer would be a copy of the one before it."""

AGGREGATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean(dim=(2, 3)),
    "max": lambda maps: maps.amax(dim=(2, 3)),
    "sum": lambda maps: maps.sum(dim=(2, 3)),
    "none": lambda maps: maps,
}
"""How feature maps (B, C, H, W) become units (B, C), or (B, C, H, W) for ``"none"``."""

EXACT_ENOUGH = (torch.float32, torch.float64)
"""Types that are aggregated as they are; the sum of a feature map in a shorter one would lose digits."""


@dataclass(frozen=True)
class Layer:
    """A recording point: one tensor of one call of a leaf module.

    Attributes:
        name: The module's qualified name, ``#2`` and so on for its later calls, ``[key]`` for a part of its output.
        shape: Shape of the units of one sample after aggregation: (C,), or (C, H, W) without aggregation.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def units(self) -> int:
        """Number of units."""
        return int(torch.Size(self.shape).numel())


class ActivationRecorder:
    """Runs a network and returns the activations of all its layers side by side, (B, U).

    A context manager: hooks are on the model inside the ``with`` block only, whatever happens there. Each
    activation is aggregated and copied at once, inside its hook, so that an in-place operation that follows
    cannot change what was recorded.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    >>> with ActivationRecorder(model, "mean") as recorder:
    ...     rows = recorder(torch.rand(2, 1, 8, 8))
    >>> rows.shape, [layer.name for layer in recorder.layers]
    (torch.Size([2, 8]), ['0', '1'])

    Args:
        model: Any module whose outputs have the samples along their first axis.
        aggregation: A key of ``AGGREGATIONS``. It concerns feature maps, activations of four axes; any other
            activation is recorded value by value.

    Raises:
        InputError: The aggregation is unknown.
    """

    def __init__(self, model: nn.Module, aggregation: str = "mean") -> None:
        if aggregation not in AGGREGATIONS:
            raise InputError(f"unknown aggregation {aggregation!r}: choose one of {', '.join(AGGREGATIONS)}")
        self.layers: list[Layer] = []
        self._model = model
        self._aggregate = AGGREGATIONS[aggregation]
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._recorded: list[tuple[str, Tensor]] = []
        self._calls: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for name, module in layer_modules(self._model):
            self._handles.append(module.register_forward_hook(self._hook(name or type(module).__name__)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the model on ``inputs`` and return its activations.

        Args:
            inputs: (B, C, H, W), what the model takes.

        Returns:
            (B, U) float32 or float64: the units of all layers, in order of execution. ``layers`` names them.

        Raises:
            InputError: No layer was recorded, a layer's first axis is not the batch, or the layers are not
                those of the call before.
        """
        self._recorded.clear()
        self._calls.clear()
        self._model(inputs)
        layers = [Layer(name, tuple(units.shape[1:])) for name, units in self._recorded]
        self._check(layers, len(inputs))
        self.layers = layers
        row = torch.cat([units.reshape(len(units), -1) for _, units in self._recorded], dim=1)
        self._recorded.clear()
        return row

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            self._calls[name] += 1
            call = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
            for part, activation in named_tensors(call, output):
                values = activation if activation.dtype in EXACT_ENOUGH else activation.to(torch.float32)
                units = self._aggregate(values) if values.ndim == 4 else values
                self._recorded.append((part, units.clone()))

        return record

    def _check(self, layers: list[Layer], batch: int) -> None:
        if not layers:
            raise InputError("no layer was recorded: the model calls no leaf module that computes something")
        for name, units in self._recorded:
            if units.ndim == 0 or len(units) != batch:
                raise InputError(
                    f"layer {name} has shape {tuple(units.shape)} for {batch} samples: its first axis is not the batch"
                )
        if self.layers and layers != self.layers:
            changed = next(iter(set(layers) ^ set(self.layers)), layers[0])
            raise InputError(
                f"the layers changed between two calls of the model (layer {changed.name}): "
                "every input must have the same size and take the same path"
            )


def layer_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name the modules whose calls are layers: leaves, but for those that only repeat their input.

    A module whose weights are parametrized (weight normalisation, say) is a leaf for all that, and so is multi-head
    attention, which uses the weights of its child without calling it.

    >>> model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.Sequential(nn.ReLU()))
    >>> [name for name, _ in layer_modules(model)]
    ['0', '1.0']
    """
    inner: set[str] = set()
    for name, module in model.named_modules():
        if name in inner or name.rpartition(".")[0] in inner:
            inner.add(name)
            continue
        children = {child for child, _ in module.named_children()}
        if children <= {"parametrizations"} or isinstance(module, nn.MultiheadAttention):
            inner |= {f"{name}.{child}".removeprefix(".") for child in children}
            if not isinstance(module, COPYING_MODULES):
                yield name, module


def named_tensors(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """Name the tensors of a module's output, however deep in tuples, lists and dicts.

    >>> [name for name, _ in named_tensors("lstm", (torch.zeros(1), [torch.zeros(1), None]))]
    ['lstm[0]', 'lstm[1][0]']
    """
    if isinstance(output, Tensor):
        yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from named_tensors(f"{name}[{key}]", value)
    elif isinstance(output, (tuple, list)):
        for index, value in enumerate(output):
            yield from named_tensors(f"{name}[{index}]", value)
