"""Recording: the activations of the layers of a network, as one row of units per sample."""

import math
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain, count
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from pytorch.errors import InputError, one_line
from pytorch.variance.aggregation import aggregation_names
from pytorch.variance.chains import Chains
from pytorch.variance.channel_axes import CONSTANT, ChannelAxes
from pytorch.variance.derived_units import DerivedUnits
from pytorch.variance.layers import (
    ChannelAxis,
    Layer,
    LayerChoice,
    LayerSelection,
    leaf_modules,
    named_modules,
    named_tensors,
    unreadable,
)
from pytorch.variance.operations import Operations
from pytorch.variance.places import Place, Places, changed
from pytorch.variance.triton_import import kernels_for

FLOATING = torch.float64, torch.float32, torch.float16, torch.bfloat16
"""Types that networks compute in; others are types to keep weights in."""

INTEGER_STEP = 2**-7
"""A step of 8-bit integers, of which quantized modules have 255 for values of either sign."""

COPY = "a copy: it holds only what other layers hold"


class ActivationRecorder:
    """Runs a network and returns the activations of its layers side by side, (B, U).

    A context manager: hooks are on the model inside the ``with`` block only, whatever happens there. Each
    activation is aggregated and copied at once, inside its hook, so that an in-place operation that follows
    cannot change what was recorded. Inside the block the fast path of attention, which passes modules by, is off,
    and what ``torch.compile`` has compiled runs as it was written.

    The first call finds the layers, and which axes of each hold channels. A call of ``confirm`` with another number of
    samples gives up those whose first axis is something else than the samples.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    >>> with ActivationRecorder(model, "mean") as recorder:
    ...     rows = recorder(torch.rand(2, 1, 8, 8))
    >>> rows.shape, [layer.name for layer in recorder.layers]
    (torch.Size([2, 8]), ['0', '1'])

    Attributes:
        not_measured: Why a tensor of a module that was called, or the module, is no layer; by its name.
        rounding: (U,) float64, the largest dispersion of each unit that rounding may make; None: it is not known.

    Args:
        model: Any module.
        aggregation: One or several of ``AGGREGATIONS``.
        layers: Which to record; see ``LayerSelection``.
        channel_axis: For names of layers, or as a function of a name and a module, which axis of the activation holds
            channels, or which axes do; where it names none they are found out.
        reset: Called before each forward pass.
        adopt: Called with each module that the network calls without having registered it, before it runs.

    Raises:
        InputError: The aggregation is unknown, or ``layers`` is nothing to choose by.
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
        self._operations = Operations(model, self._tell) if self._selection.operations else None
        self._stack = ExitStack()
        self._hooks: dict[str, Any] = {}
        self._names: dict[nn.Module, str] = {}
        self._reads = True
        self._running = False  # hooks of a module that others use too hear of calls that are not this recorder's
        self._derived = DerivedUnits()
        self._to_finish: list[Callable[[], None]] = []
        self.forget()

    def forget(self) -> None:
        """Forget the layers: the next call is the first one."""
        self._places = Places()
        self._chains: Chains | None = None
        self._axes: ChannelAxes | None = None
        self._odd: dict[str, str] | None = None
        self._batch = 0
        self._wants: tuple[torch.dtype | None, bool] | None = None
        self._calls: Counter[str] = Counter()
        self._entered: dict[nn.Module | None, list[int]] = defaultdict(list)
        self._aliases: dict[str, tuple[str, str, str]] = {}
        self.not_measured: dict[str, str] = {}
        self._magnitudes: dict[str, Tensor] = {}
        self.rounding: Tensor | None = None

    @property
    def row(self) -> Tensor:
        """The activations of the last call."""
        return self._places.row

    @property
    def layers(self) -> list[Layer]:
        """What the units of a row are, in order; none before the first call.

        A layer is there once for each aggregation, or once for all where it has no positions to aggregate.
        """
        return self._places.layers

    @property
    def never_called(self) -> list[str]:
        """Modules that were to be recorded and that no forward pass has called."""
        chosen = self._selection
        if chosen.is_default:
            names = (name for name, _ in leaf_modules(self._model))
        else:
            names = (name for name, module in named_modules(self._model) if chosen.includes((name,), module))
        return [name for name in names if not self._calls[name]]

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next larger number of the coarsest type that the model computes in."""
        if any("quantized" in type(module).__module__ for module in self._names):
            return INTEGER_STEP
        device = next((values.device.type for _, values in self.parameters()), "cpu")
        if torch.is_autocast_enabled(device):
            return torch.finfo(torch.get_autocast_dtype(device)).eps
        kinds = {values.dtype for _, values in self.parameters()} & {*FLOATING} or {torch.float32}
        return max(torch.finfo(kind).eps for kind in kinds)

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters of the model, by name, that have numbers."""
        for module, name in self._names.items():
            for own, values in module.named_parameters(name, recurse=False):
                if not is_lazy(values):
                    yield own, values

    def magnitudes(self) -> Tensor:
        """(U,) float64, by how much an activation of each layer differs from 0 at most, of those of the first call."""
        found = []
        for place in self._places:
            added = math.prod(place.shape[axis] for axis in place.axes)
            found += [
                self._magnitudes[place.name].expand(layer.units) * (added if layer.aggregation == "sum" else 1)
                for layer in place.layers
            ]
        return torch.cat(found)

    def own_copy(self, inputs: Tensor) -> Tensor:
        """Copy what the model may change in place, and others see too.

        In the type of its parameters, unless these are of several types, and in the order of its convolutions.
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
            stack.enter_context(uncompiled())
            self._stack = stack
            for name, module in named_modules(self._model):
                self._put_hook(name, module)
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
            inputs: (B, ...), what the model takes.

        Returns:
            (B, U) float32 or float64: the units of all layers, in order of execution. ``layers`` names them. The next
            call writes into the same memory.

        Raises:
            InputError: No layer was recorded, or the layers are not those of the call before.
        """
        if self._reset is not None:
            self._reset()
        self._to_finish.clear()
        self._derived.restart()
        self._batch = len(inputs)
        self._places.restart(self._batch)
        if self._chains is not None:
            self._chains.restart()
        if self._operations:
            self._operations.restart()
        first = not self.layers
        with torch.no_grad(), self._first_pass(inputs) if first else nullcontext():
            self._running = True
            try:
                with self._operations or nullcontext():
                    self._model(inputs)
            finally:
                self._running = False
            if not first:
                self._places.check_complete()
            # All at once, when the code is at hand: after each layer it would have to come from memory again.
            for finish in self._to_finish:
                finish()
        if first:
            self._settle()
        return self._places.row

    def find_layers(self, inputs: Tensor) -> None:
        """Run the model to learn what its layers are, without reading them: before any call, whose errors it raises."""
        self._reads = False
        try:
            self(inputs)
        finally:
            self._reads = True

    def confirm(self, inputs: Tensor) -> Tensor:
        """Call the model with another number of samples than at first, and give up the layers that do not follow.

        Returns:
            As a call, for the layers that are left.

        Raises:
            InputError: A layer that was asked for by name is given up, or none is left.
        """
        self._odd = {}
        try:
            self(inputs)
            odd = self._odd
        finally:
            self._odd = None
        if odd:
            self.not_measured.update(odd)
            self._places.settle(lambda place: place.name not in odd)
            self._check_layers()
        return self._places.row

    @contextmanager
    def _first_pass(self, inputs: Tensor) -> Iterator[None]:
        """A context for the pass that finds the layers: axes are followed, and modules met that no one has named."""
        if kernels := kernels_for(inputs.device):
            self._chains = Chains(self._derived, self._places, kernels)
        held = chain(*((*module._parameters.values(), *module._buffers.values()) for module in self._names))
        constants = [each for each in held if isinstance(each, Tensor) and not is_lazy(each)]
        self._axes = ChannelAxes(inputs, constants, self._given_axis)
        handle = register_module_forward_pre_hook(self._meet)
        try:
            with self._axes:
                yield
        finally:
            handle.remove()
            self._axes = None

    def _meet(self, module: nn.Module, inputs: Any) -> None:
        if not self._running:
            return
        self._entered[module].append(self._axes.enter(inputs))
        if module not in self._names and not isinstance(module, torch.jit.ScriptModule):
            kind = type(module).__name__
            self._adopt(module)
            names = chain([kind], (f"{kind}_{number}" for number in count(2)))
            self._put_hook(next(name for name in names if name not in self._hooks), module)

    def _put_hook(self, name: str, module: nn.Module) -> None:
        self._names[module] = name
        try:
            self._hooks[name] = module.register_forward_hook(self._hook(name))
            self._stack.callback(self._hooks[name].remove)
        except RuntimeError:
            self.not_measured[name] = "TorchScript, which takes no hooks: measure the module that was scripted"

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self._running:
                return
            # Between two layers the caches are full of activations, and every line of this takes its time.
            if self._axes is None and self._operations is None:
                self._record(self._places.of_call(name), module, inputs, output)
                return
            with torch._C.DisableTorchFunction():  # what is done here is no operation of the model
                self._heard(name, module, inputs, output)

        return record

    def _tell(self, name: str, output: Any) -> None:
        with torch._C.DisableTorchFunction():
            self._heard(name, None, (), output)

    def _heard(self, name: str, module: nn.Module | None, inputs: Any, output: Any) -> None:
        """Record a call of a module, or an operation (None); in the first pass it is found out what of it."""
        if self._axes is not None:
            self._find(name, module, inputs, output)
        elif name in self._calls or self._selection.includes((name,), module):
            self._record(self._places.of_call(name), module, inputs, output)

    def _record(self, places: list[tuple[int, Place]], module: nn.Module | None, inputs: Any, output: Any) -> None:
        if type(output) is Tensor:  # the usual case
            tensors = [output]
        else:
            tensors = [tensor for _, tensor in named_tensors("", output)] if places else []
        for part, place in places:
            if part >= len(tensors):
                raise changed(place.name)
            activation = plain(tensors[part])
            if activation.shape == place.shape:
                self._fill(place, activation, module, inputs)
            elif self._odd is None:
                raise changed(place.name)
            else:
                self._odd[place.name] = _not_per_sample(activation, self._batch)

    def _find(self, name: str, module: nn.Module | None, inputs: Any, output: Any) -> None:
        """Settle which tensors of a call are layers, in the first pass, and record them."""
        self._calls[name] += 1
        call = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
        begun = self._entered[module].pop() if self._entered[module] else -1
        found = []
        tensors = list(named_tensors(call, output))
        if not tensors and module is not None:
            self.not_measured[call] = f"no tensor in its output, of type {type(output).__name__}"
        for part, (label, tensor) in enumerate(tensors):
            names = (name, call, label)
            if not self._selection.includes(names, module):
                continue
            made = self._axes.made(tensor)
            reason = unreadable(tensor)
            if reason is None and (tensor.ndim == 0 or len(tensor) != self._batch):
                constant = "it does not depend on the images"
                reason = constant if made == CONSTANT else _not_per_sample(tensor, self._batch)
            if reason is None and self._selection.is_default and CONSTANT < made <= begun:
                reason = COPY
            if reason is None:
                axes = self._settled_axes(names, tensor, module, inputs)
                try:
                    place = self._place(names, tensor, *axes)
                    self._fill(place, plain(tensor), module, inputs)
                    found.append((part, place))
                    continue
                except RuntimeError as error:
                    reason = f"it cannot be read: {one_line(error, longest=200)}"
            if module is not None or self._selection.names(label):
                self.not_measured[label] = reason
        self._places.append(name, found)

    def _settled_axes(
        self, names: tuple[str, str, str], tensor: Tensor, module: nn.Module | None, inputs: Any
    ) -> tuple[tuple[int, ...], str]:
        try:
            return self._axes.record(tensor, names, module, inputs)
        except ValueError as error:
            raise InputError(f"layer {names[-1]}: {error}") from error

    def _place(self, names: tuple[str, str, str], tensor: Tensor, channels: tuple[int, ...], known: str) -> Place:
        """Make the place of a layer."""
        label, activation = names[-1], plain(tensor)
        self._magnitudes[label] = activation.detach().abs().amax().double()
        self._aliases[label] = names
        return Place.of(label, activation, channels, known, self._aggregations)

    def _given_axis(self, names: Sequence[str], module: nn.Module | None) -> Any:
        given = self._channel_axis or {}
        if callable(given):
            return given(names[-1], module)
        return next((given[name] for name in reversed(names) if name in given), None)

    def _fill(self, place: Place, activation: Tensor, module: nn.Module | None, inputs: Any) -> None:
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
        met = {*chain.from_iterable(self._aliases.values())}
        for name in self._channel_axis if isinstance(self._channel_axis, Mapping) else ():
            if name not in met:
                raise InputError(f"channel_axis names {name!r}, and no layer of that name was recorded")
        twice = [name for name, count in Counter(place.name for place in self._places).items() if count > 1]
        if twice:
            raise InputError(f"two layers are called {twice[0]}: rename the module, or choose with layers=")
        self._places.settle()
        self._check_layers()

    def _check_layers(self) -> None:
        """Check that what was asked for is there, and listen to nothing else."""
        recorded = {name for place in self._places for name in self._aliases[place.name]}
        self._selection.check_found(recorded, self._calls, self.not_measured)
        if not self.layers:
            chosen = "layers= chooses nothing" if self._selection.by_function else "the model calls no module"
            reasons = "".join(f"; {name}: {reason}" for name, reason in list(self.not_measured.items())[:3])
            raise InputError(f"no layer was recorded: {chosen} that computes something{reasons}")
        for name, hook in self._hooks.items():
            # A module that comes later where all are wanted is another path, and is told.
            if name not in self._places.callers and (self._calls[name] or not self._selection.is_default):
                hook.remove()


def plain(tensor: Tensor) -> Tensor:
    """An activation as an ordinary tensor, whatever its class; a quantized one as the numbers that it stands for."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def _not_per_sample(tensor: Tensor, batch: int) -> str:
    return f"shape {tuple(tensor.shape)} for {batch} samples: its first axis is not the batch"


@contextmanager
def uncompiled() -> Iterator[None]:
    """A context in which networks that ``torch.compile`` has compiled run as they were written, hooks and all."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and to import it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Hooks on all modules fire once more for a compiled one, whose calls are told apart by its name.
        warnings.filterwarnings("ignore", message=".*global hooks on modules")
        yield
