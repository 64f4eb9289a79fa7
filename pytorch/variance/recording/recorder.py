"""Recording the activations of a network, as one row of units per sample."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain, count
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from pytorch.errors import one_line
from pytorch.names import aggregation_names
from pytorch.variance.fast.reader import Reader
from pytorch.variance.recording.finding import LayerFinder, not_per_sample
from pytorch.variance.recording.layers import (
    ChannelAxis,
    Layer,
    LayerChoice,
    LayerSelection,
    plain,
    tensors_in,
)
from pytorch.variance.recording.operations import Operations
from pytorch.variance.recording.places import Place, Places, changed


class MapReader(Protocol):
    """Reads activations besides the recorder."""

    def read(self, place: Place, activation: Tensor) -> None:
        """Read the activation of a layer."""


class ActivationRecorder:
    """Runs a network and returns the activations of all its layers, concatenated along the unit axis, (B, U).

    A context manager: the model has hooks only inside the ``with`` block, whatever happens there. Each hook aggregates
    its activation at once, so that a later in-place operation cannot change it. Inside the block, PyTorch's fast path
    of attention, which bypasses modules, is off, and compiled networks run uncompiled.

    The first call finds the layers and their channel axes. A call of ``confirm`` with a different batch size drops
    layers whose first axis is not the batch.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    >>> with ActivationRecorder(model, "mean") as recorder:
    ...     rows = recorder(torch.rand(2, 1, 8, 8))
    >>> rows.shape, [layer.name for layer in recorder.layers]
    (torch.Size([2, 8]), ['0', '1'])

    Attributes:
        modules: Modules of the model, and unregistered modules that it calls, with their names.
        rounding: (U,) float64, the largest dispersion of each unit that rounding can cause; None: unknown.
        maps: Reads each activation, too, from the second call on; None: nothing does.

    Args:
        model: Network to run, any module.
        aggregation: One or several of ``AGGREGATIONS``.
        layers: Layers to record; see ``LayerSelection``.
        channel_axis: Axis or axes that hold channels: a mapping from layer names, or a function of a name and a
            module; other layers follow ``channel_axes``.
        reset: Function called before each forward pass.
        adopt: Function called with each unregistered module that the network calls, before the module runs.

    Raises:
        InputError: The aggregation is unknown, or ``layers`` is invalid.
    """

    def __init__(
        self,
        model: nn.Module,
        aggregation: str | Sequence[str] = "mean",
        layers: LayerChoice = None,
        channel_axis: ChannelAxis = None,
        reset: Callable[[], Any] | None = None,
        adopt: Callable[[nn.Module], Any] = lambda module: None,
    ) -> None:
        self._model = model
        self._aggregations = aggregation_names(aggregation)
        self._selection = LayerSelection(model, layers)
        self._channel_axis = channel_axis
        self._reset = reset
        self._adopt = adopt
        self._operations = Operations(model, self._heard) if self._selection.operations else None
        self._stack = ExitStack()
        self._hooks: dict[str, Any] = {}
        self._unhooked: dict[str, str] = {}
        self.modules: dict[nn.Module, str] = {}
        self.maps: MapReader | None = None
        self._running = False  # modules may be shared: hooks also see calls by other networks
        self.forget()

    def forget(self) -> None:
        """Forget the layers, so that the next call is the first one."""
        self._finder = LayerFinder(self._selection, self._aggregations, self._channel_axis)
        self._places = Places()
        self._reader: Reader | None = None
        self._odd: dict[str, str] | None = None
        self._batch = 0
        self._wants: tuple[torch.dtype | None, bool] | None = None
        self.rounding: Tensor | None = None

    @property
    def row(self) -> Tensor:
        """Activations of the last call, (B, U)."""
        return self._places.row

    @property
    def layers(self) -> list[Layer]:
        """Layers along the unit axis of a row, in order; empty before the first call.

        A layer occurs once for each aggregation, or once in total if it has no positions to aggregate.
        """
        return self._places.layers

    @property
    def never_called(self) -> list[str]:
        """Names of the selected modules that no forward pass has called."""
        return self._finder.never_called(self._model)

    @property
    def not_measured(self) -> dict[str, str]:
        """Reason why a called module, or a tensor in its output, is not a layer, by name."""
        return {**self._unhooked, **self._finder.not_measured}

    def magnitudes(self) -> Tensor:
        """Largest absolute activation of each of the ``layers`` in the first call, (L,) float64; for sums a bound."""
        return torch.stack([
            self._finder.magnitudes[place.name] * (place.positions if how == "sum" else 1)
            for place in self._places
            for how in place.units
        ])  # fmt: skip

    def own_copy(self, inputs: Tensor) -> Tensor:
        """Copy inputs that other code shares, since the model may change them in place.

        The copy has the type of the parameters, unless these have several types, and the memory format of the
        convolutions.
        """
        if self._wants is None:
            dtypes = {weight.dtype for weight in self._model.parameters() if weight.is_floating_point()}
            channels_last = any(weight.ndim == 4 and not weight.is_contiguous() for weight in self._model.parameters())
            self._wants = dtypes.pop() if len(dtypes) == 1 else None, channels_last
        kind, channels_last = self._wants
        dtype = kind if kind is not None and inputs.is_floating_point() else inputs.dtype
        memory_format = torch.channels_last if channels_last and inputs.ndim == 4 else torch.preserve_format
        return inputs.to(dtype, copy=True, memory_format=memory_format)

    def columns(self) -> dict[str, list[int]]:
        """Indices in ``layers`` for each aggregation; layers without positions belong to all aggregations."""
        return {
            name: [index for index, layer in enumerate(self.layers) if layer.aggregation in (name, None)]
            for name in self._aggregations
        }

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            fast_path = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
            stack.enter_context(uncompiled())
            self._stack = stack
            for name, module in self._selection.modules.items():
                self._put_hook(name, module)
            for handle in self._operations.hook() if self._operations else ():
                stack.callback(handle.remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the model on ``inputs`` and return its activations.

        Args:
            inputs: Batch that the model accepts, (B, ...).

        Returns:
            The units of all ``layers`` in order of execution, (B, U) float32 or float64. The next call reuses the
            memory.

        Raises:
            InputError: No layer was recorded, or the layers differ from those of the previous call.
        """
        if self._reset is not None:
            self._reset()
        self._batch = len(inputs)
        self._places.restart(self._batch)
        if self._reader is None:
            self._reader = Reader(self._places, inputs.device)
        self._reader.restart()
        if self._operations:
            self._operations.restart()
        first = not self.layers
        with torch.no_grad():
            with self._first_pass(inputs) if first else nullcontext(), self._operations or nullcontext():
                self._running = True
                try:
                    self._model(inputs)
                finally:
                    self._running = False
            if not first:
                self._places.check_complete()
            self._reader.finish()
        if first:
            self._finder.check_names([place.name for place in self._places])
            self._places.settle()
            self._check_layers()
        return self._places.row

    def confirm(self, inputs: Tensor) -> Tensor:
        """Call the model with a different batch size, and drop layers whose first axis is not the batch.

        Returns:
            The activations of the remaining layers, as for a call.

        Raises:
            InputError: A layer that was selected by name is dropped, or no layer remains.
        """
        self._odd = {}
        try:
            self(inputs)
            odd = self._odd
        finally:
            self._odd = None
        if odd:
            self._finder.not_measured.update(odd)
            self._places.settle(without=odd)
            self._check_layers()
        return self._places.row

    @contextmanager
    def _first_pass(self, inputs: Tensor) -> Iterator[None]:
        """A context for the pass that finds the layers and the unregistered modules."""
        held = chain(*((*module._parameters.values(), *module._buffers.values()) for module in self.modules))
        constants = [each for each in held if isinstance(each, Tensor) and not is_lazy(each)]
        handle = register_module_forward_pre_hook(self._meet)
        try:
            with self._finder.following(inputs, constants):
                yield
        finally:
            handle.remove()

    def _meet(self, module: nn.Module, inputs: Any) -> None:
        if not self._running:
            return
        with torch._C.DisableTorchFunction():
            self._finder.enter(module, inputs)
        if module not in self.modules and not isinstance(module, torch.jit.ScriptModule):
            kind = type(module).__name__
            self._adopt(module)
            names = chain([kind], (f"{kind}_{number}" for number in count(2)))
            self._put_hook(next(name for name in names if name not in self._hooks), module)

    def _put_hook(self, name: str, module: nn.Module) -> None:
        self.modules[module] = name
        try:
            self._hooks[name] = module.register_forward_hook(self._hook(name))
            self._stack.callback(self._hooks[name].remove)
        except RuntimeError:
            self._unhooked[name] = "TorchScript, which takes no hooks: measure the module that was scripted"

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self._running:
                return
            # Between two layers the caches are full of activations, so every line here costs time.
            if self._operations is None and not self._finder.is_open:
                self._record(self._places.of_call(name), module, inputs, output)
            else:
                self._heard(name, output, module, inputs)

        return record

    def _heard(self, name: str, output: Any, module: nn.Module | None = None, inputs: Any = ()) -> None:
        """Record a call of a module, or an operation (None); the first pass decides which of its tensors are layers."""
        with torch._C.DisableTorchFunction():  # the recorder's own operations are not the model's
            if self._finder.is_open:
                self._find(name, module, inputs, output)
            elif name in self._finder.calls or self._selection.includes((name,), module):
                self._record(self._places.of_call(name), module, inputs, output)

    def _record(self, places: list[tuple[int, Place]], module: nn.Module | None, inputs: Any, output: Any) -> None:
        tensors = [output] if type(output) is Tensor or not places else tensors_in(output)
        for part, place in places:
            if part >= len(tensors):
                raise changed(place.name)
            activation = plain(tensors[part])
            if activation.shape == place.shape:
                self._reader.read(place, activation, module, inputs)
                if self.maps is not None:
                    self.maps.read(place, activation)
            elif self._odd is None:
                alone = ", of a single sample" if self._batch == 1 else ""
                raise changed(place.name, f" has shape {(*activation.shape,)} instead of {(*place.shape,)}{alone}")
            else:
                self._odd[place.name] = not_per_sample(activation, self._batch)

    def _find(self, name: str, module: nn.Module | None, inputs: Any, output: Any) -> None:
        """Record the layers of a call in the first pass."""
        found = []
        for part, place, activation in self._finder.layers(name, module, inputs, output):
            try:
                self._reader.read(place, activation, module, inputs)
                found.append((part, place))
            except RuntimeError as error:
                self._finder.not_measured[place.name] = f"it cannot be read: {one_line(error, longest=200)}"
        self._places.append(name, found)

    def _check_layers(self) -> None:
        """Check that the selected layers were recorded, and remove the other hooks."""
        self._finder.check([place.name for place in self._places], self.not_measured)
        for name, hook in self._hooks.items():
            # Where all modules are selected, a module that is called only later is a change of path, which is an error.
            if name not in self._places.callers and (self._finder.calls[name] or not self._selection.is_default):
                hook.remove()


@contextmanager
def uncompiled() -> Iterator[None]:
    """A context in which compiled networks run uncompiled, with their hooks."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Global hooks also fire for the wrapper of a compiled module, whose calls have a name of their own.
        warnings.filterwarnings("ignore", message=".*global hooks on modules")
        yield
