"""Recording: the activations of the layers of a network, as one row of units per sample."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from pytorch.errors import InputError
from pytorch.variance.aggregation import aggregation_names
from pytorch.variance.chains import Chains
from pytorch.variance.derived_units import DerivedUnits
from pytorch.variance.layers import (
    Layer,
    LayerChoice,
    LayerSelection,
    check_measurable,
    is_beside_samples,
    is_per_sample,
    named_tensors,
)
from pytorch.variance.operations import Operations
from pytorch.variance.places import Place, Places
from pytorch.variance.triton_import import kernels_for


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

    Args:
        model: Any module whose outputs have the samples along their first axis.
        aggregation: One or several of ``AGGREGATIONS``.
        layers: Which to record; see ``LayerSelection``.

    Raises:
        InputError: The aggregation is unknown, or ``layers`` is nothing to choose by.
    """

    def __init__(self, model: nn.Module, aggregation: str | Sequence[str] = "mean", layers: LayerChoice = None) -> None:
        self._model = model
        self._choice = layers
        self._aggregations = aggregation_names(aggregation)
        self._selection = LayerSelection(model, layers)
        self._operations = Operations(model, self._record_operation) if self._selection.operations else None
        self._stack = ExitStack()
        self._places = Places()
        self._batch = 0
        self._reads = True
        self._running = False  # hooks of a module that others use too hear of calls that are not this recorder's
        self._derived = DerivedUnits()
        self._chains: Chains | None = None
        self._to_finish: list[Callable[[], None]] = []
        self._calls: Counter[str] = Counter()
        self._called: set[str] = set()
        self._left_out: dict[str, None] = {}
        self._in_parts: set[str] = set()  # modules whose output is not always one tensor, or not always wanted

    @property
    def layers(self) -> list[Layer]:
        """What the units of a row are, in order; none before the first call.

        A layer is there once for each aggregation, or once for all where it has no positions to aggregate.
        """
        return self._places.layers

    @property
    def never_called(self) -> list[str]:
        """Modules that were to be recorded and that no forward pass has called, and parts that were left out."""
        return [name for name, _ in self._selection.modules if name not in self._called] + [*self._left_out]

    @property
    def has_sequences(self) -> bool:
        """Whether an activation has three axes, of which any may be that of the samples."""
        return any(len(place.shape) == 3 for place in self._places)

    def anew(self) -> "ActivationRecorder":
        """One of the same layers that has recorded nothing yet."""
        return ActivationRecorder(self._model, self._aggregations, self._choice)

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
                try:
                    stack.callback(module.register_forward_hook(self._hook(name)).remove)
                except RuntimeError as error:  # TorchScript
                    raise InputError(f"layer {name} cannot be recorded: {error}") from error
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
        self._to_finish.clear()
        self._derived.restart()
        if not self.layers and (kernels := kernels_for(inputs.device)):
            self._chains = Chains(self._derived, self._places, kernels)
        if self._chains is not None:
            self._chains.restart()
        self._batch = len(inputs)
        self._places.restart(self._batch)
        if self._operations:
            self._operations.restart()
        with torch.no_grad():
            self._running = True
            try:
                with self._operations or nullcontext():
                    self._model(inputs)
            finally:
                self._running = False
            self._places.check_complete()
            # All at once, when the code is at hand: after each layer it would have to come from memory again.
            for finish in self._to_finish:
                finish()
        if not self.layers:
            self._settle()
        return self._places.row

    def find_layers(self, inputs: Tensor) -> None:
        """Run the model to learn what its layers are, without reading them: before any call, whose errors it raises."""
        self._reads = False
        try:
            self(inputs)
        finally:
            self._reads = True

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self._running:
                return
            # Between two layers the caches are full of activations, and every line of this takes its time: so calls
            # are not counted here, which is for names, and no operation has that of a module.
            place = self._places.take(name, output)
            if place is not None:
                self._fill(place, output, module, inputs)
            else:
                self._record_parts(name, module, inputs, output)

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

    def _record_parts(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """Record the tensors of an output that is not, or not yet known to be, a single one that is always wanted."""
        self._called.add(name)
        call = self._call(name)
        for part, activation in named_tensors(call, output):
            if not self._selection.includes(part):
                self._in_parts.add(name)
                continue
            beside = is_beside_samples(module, part.removeprefix(call)) or not is_per_sample(activation, self._batch)
            if type(output) is not Tensor and self._is_left_out(part, beside):
                self._left_out[part] = None
                continue
            check_measurable(part, activation, self._batch, beside=beside)
            self._fill(self._place(part, name, activation, module, inputs), activation, module, inputs)
        if type(output) is not Tensor:
            self._in_parts.add(name)

    def _is_left_out(self, part: str, beside: bool) -> bool:
        """Whether a part of an output, not asked for by name, is nothing of each sample: the state of an LSTM, say."""
        return part in self._left_out or (beside and not self._selection.names(part))

    def _record_operation(self, name: str, output: Any) -> None:
        for part, activation in named_tensors(self._call(name), output):
            measurable = is_per_sample(activation, self._batch) and activation.numel() > 0
            if measurable and activation.is_floating_point() and self._selection.includes(part, operation=True):
                self._fill(self._place(part, None, activation), activation)

    def _call(self, name: str) -> str:
        self._calls[name] += 1
        return name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"

    def _place(
        self,
        name: str,
        caller: str | None,
        activation: Tensor,
        module: nn.Module | None = None,
        inputs: tuple = (),
    ) -> Place:
        """The next place, which must be that of this layer; made now, in the first call of the model."""
        if self.layers:
            return self._places.find(name, activation)
        axes = self._derived.axes(module, inputs, activation)
        return self._places.append(Place.of(name, caller, activation, axes, self._aggregations))

    def _fill(self, place: Place, activation: Tensor, module: nn.Module | None = None, inputs: tuple = ()) -> None:
        in_chain = self._chains is not None and self._is_in_chain(place, activation, module, inputs)
        if self._reads and not in_chain:
            derived = self._derived.derivations(module, inputs, activation, place)
            place.fill(activation, but=derived)
            if "mean" in place.units and "mean" not in derived and activation.is_cpu:
                self._to_finish.append(place.finish)
            self._to_finish.extend(derived.values())
        self._derived.remember(activation, place)

    def _is_in_chain(self, place: Place, activation: Tensor, module: nn.Module | None, inputs: tuple) -> bool:
        """Whether an activation has been read before, or is read now, together with what follows it."""
        follows = self._chains.follows(module, inputs, activation, place)
        return follows or self._chains.read(place, activation)

    def _settle(self) -> None:
        """Take the layers that the first call has found for those of every call."""
        names = Counter(place.name for place in self._places)
        self._selection.check_found(names, self._calls)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise InputError(f"two layers are called {twice[0]}: rename the module, or choose with layers=")
        if not names:
            chosen = "layers= chooses nothing" if self._selection.by_function else "the model calls no leaf module"
            raise InputError(f"no layer was recorded: {chosen} that computes something")
        self._places.settle(self._in_parts)
