"""Recording: the activations of the layers of a network, as one row of units per sample."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from pytorch.errors import InputError
from pytorch.variance.aggregation import aggregate, aggregation_names, unit_shapes, unit_type
from pytorch.variance.batch_norm_means import BatchNormMeans
from pytorch.variance.layers import Layer, LayerChoice, LayerSelection, named_tensors
from pytorch.variance.operations import Operations


class ActivationRecorder:
    """Runs a network and returns the activations of its layers side by side, (B, U).

    A context manager: hooks are on the model inside the ``with`` block only, whatever happens there. Each
    activation is aggregated and copied at once, inside its hook, so that an in-place operation that follows
    cannot change what was recorded. Inside the block the fast path of attention, which passes modules by, is off.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    >>> with ActivationRecorder(model, "mean") as recorder:
    ...     rows = recorder(torch.rand(2, 1, 8, 8))
    >>> rows.shape, [layer.name for layer in recorder.layers]
    (torch.Size([2, 8]), ['0', '1'])

    Attributes:
        layers: What the units of a row are, in order; a layer is there once for each aggregation, or once for all
            where it has no positions to aggregate.

    Args:
        model: Any module whose outputs have the samples along their first axis.
        aggregation: One or several of ``AGGREGATIONS``.
        layers: Which to record; see ``LayerSelection``.

    Raises:
        InputError: The aggregation is unknown, or ``layers`` is nothing to choose by.
    """

    def __init__(self, model: nn.Module, aggregation: str | Sequence[str] = "mean", layers: LayerChoice = None) -> None:
        self.layers: list[Layer] = []
        self._model = model
        self._aggregations = aggregation_names(aggregation)
        self._selection = LayerSelection(model, layers)
        self._operations = Operations(model, self._record_operation) if self._selection.operations else None
        self._stack = ExitStack()
        self._found: list[tuple[str, torch.Size, dict[str | None, tuple[int, ...]]]] = []
        self._parts: list[Tensor] = []
        self._rooms: list[tuple[str, torch.Size, dict[str | None, Tensor]]] = []
        self._row = torch.empty(0, 0)
        self._next = 0
        self._norms = BatchNormMeans()
        self._calls: Counter[str] = Counter()
        self._called: set[str] = set()

    @property
    def never_called(self) -> list[str]:
        """Modules that were to be recorded and that no forward pass has called."""
        return [name for name, _ in self._selection.modules if name not in self._called]

    def own_copy(self, inputs: Tensor) -> Tensor:
        """Copy what the model may change in place, and others see too; in the type and layout of its parameters."""
        floating = (weight.dtype for weight in self._model.parameters() if weight.is_floating_point())
        dtype = next(floating, inputs.dtype) if inputs.is_floating_point() else inputs.dtype
        channels_last = any(weight.ndim == 4 and not weight.is_contiguous() for weight in self._model.parameters())
        memory_format = torch.channels_last if channels_last and inputs.ndim == 4 else torch.preserve_format
        return inputs.to(dtype, copy=True, memory_format=memory_format)

    def columns(self) -> dict[str, list[int]]:
        """For each aggregation, which of ``layers`` it gives; those without positions belong to all."""
        return {
            name: [index for index, layer in enumerate(self.layers) if layer.aggregation in (name, None)]
            for name in self._aggregations
        }

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            fast_path = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
            for name, module in self._selection.modules:
                stack.callback(module.register_forward_hook(self._hook(name)).remove)
            for handle in self._operations.hook() if self._operations else ():
                stack.callback(handle.remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the model on ``inputs`` and return its activations.

        Args:
            inputs: (B, C, H, W), what the model takes.

        Returns:
            (B, U) float32 or float64: the units of all layers, in order of execution. ``layers`` names them. The next
            call writes into the same memory.

        Raises:
            InputError: No layer was recorded, a layer's first axis is not the batch, or the layers are not
                those of the call before.
        """
        self._calls.clear()
        self._batch = len(inputs)
        self._next = 0
        if self.layers and len(self._row) != self._batch:
            self._row = self._row.new_empty(self._batch, self._row.shape[1])
            self._make_rooms()
        if self._operations:
            self._operations.restart()
        with self._operations or nullcontext():
            self._model(inputs)
        if not self.layers:
            self._settle()
        elif self._next < len(self._rooms):
            raise self._changed(self._rooms[self._next][0])
        return self._row

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            self._called.add(name)
            for part, activation in named_tensors(self._call(name), output):
                if not self._selection.includes(part):
                    continue
                if activation.ndim == 0 or len(activation) != self._batch:
                    raise InputError(
                        f"layer {part} has shape {tuple(activation.shape)} for {self._batch} samples: "
                        "its first axis is not the batch (layers= records others)"
                    )
                self._record(part, activation, module, inputs)

        return record if self._operations is None else self._quietly(record)

    def _quietly(self, hook: Callable[..., None]) -> Callable[..., None]:
        """Keep what a hook computes from being taken for operations of the model."""

        def run(*arguments: Any) -> None:
            self._operations.paused = True
            try:
                hook(*arguments)
            finally:
                self._operations.paused = False

        return run

    def _record_operation(self, name: str, output: Any) -> None:
        for part, activation in named_tensors(self._call(name), output):
            per_sample = activation.ndim > 0 and len(activation) == self._batch and activation.is_floating_point()
            if per_sample and self._selection.includes(part, operation=True):
                self._record(part, activation)

    def _call(self, name: str) -> str:
        self._calls[name] += 1
        return name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"

    def _record(self, name: str, activation: Tensor, module: nn.Module | None = None, inputs: tuple = ()) -> None:
        if not self.layers:
            shapes = unit_shapes(activation, self._aggregations)
            units = {
                how: activation.new_empty(self._batch, *shape, dtype=unit_type(activation))
                for how, shape in shapes.items()
            }
            self._found.append((name, activation.shape[1:], shapes))
            self._parts += units.values()
        elif self._next < len(self._rooms) and self._rooms[self._next][:2] == (name, activation.shape[1:]):
            units = self._rooms[self._next][2]
            self._next += 1
        else:
            raise self._changed(name)
        means = units.get("mean")
        if means is not None and module is not None and self._norms.derive(module, inputs, activation, means):
            aggregate(activation, {how: out for how, out in units.items() if how != "mean"})
        else:
            aggregate(activation, units)
        self._norms.remember(activation, means)

    def _settle(self) -> None:
        """Take the layers that the first call has found for those of every call."""
        self._selection.check_found((name for name, _, _ in self._found), self._calls)
        if not self._found:
            raise InputError("no layer was recorded: the model calls no leaf module that computes something")
        self.layers = [Layer(name, how, shape) for name, _, shapes in self._found for how, shape in shapes.items()]
        self._row = torch.cat([part.reshape(self._batch, -1) for part in self._parts], dim=1)
        self._parts.clear()
        self._make_rooms()

    def _make_rooms(self) -> None:
        """Give every layer its stretch of the row to write its units into.

        Small arrays that lived until the end of a forward pass would lie in the gaps that larger ones leave, and keep
        the model from reusing them.
        """
        stretches = iter(self._row.split([layer.units for layer in self.layers], dim=1))
        self._rooms = [
            (name, shape, {how: next(stretches).view(self._batch, *units) for how, units in shapes.items()})
            for name, shape, shapes in self._found
        ]

    @staticmethod
    def _changed(name: str) -> InputError:
        return InputError(
            f"the layers changed between two calls of the model (layer {name}): "
            "every input must have the same size and take the same path"
        )
