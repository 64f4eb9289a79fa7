"""Finding layers: which tensors of the first forward pass are recorded, along which axes, and why others are not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from pytorch.errors import InputError
from pytorch.variance.recording.channel_axes import CONSTANT, ChannelAxes
from pytorch.variance.recording.layers import (
    ChannelAxis,
    LayerSelection,
    leaf_modules,
    named_modules,
    named_tensors,
    plain,
    unreadable,
)

COPY = "a copy: it holds only what other layers hold"


class Found(NamedTuple):
    """A tensor that is a layer.

    Attributes:
        part: Which of the tensors of the call it is.
        name: Of the layer.
        activation: (B, ...).
        channels: The axes of its units.
        axes_known: Whether these are known, assumed or given.
    """

    part: int
    name: str
    activation: Tensor
    channels: tuple[int, ...]
    axes_known: str


class LayerFinder:
    """Decides, call by call, which tensors of a forward pass are layers.

    Attributes:
        calls: How often each module and operation was called, by name.
        magnitudes: Of each layer, by name, the largest distance of an activation from 0, () float64.
        not_measured: Why a tensor of a module that was called is no layer, by its name.

    Args:
        selection: What is asked for.
        channel_axis: See ``measure_variance``.
    """

    def __init__(self, selection: LayerSelection, channel_axis: ChannelAxis = None) -> None:
        self.calls: Counter[str] = Counter()
        self.magnitudes: dict[str, Tensor] = {}
        self.not_measured: dict[str, str] = {}
        self._selection = selection
        self._channel_axis = channel_axis
        self._axes: ChannelAxes | None = None
        self._batch = 0
        self._entered: dict[nn.Module | None, list[int]] = defaultdict(list)
        self._aliases: dict[str, tuple[str, str, str]] = {}

    @property
    def is_open(self) -> bool:
        """Whether the pass that finds the layers is under way."""
        return self._axes is not None

    @contextmanager
    def following(self, inputs: Tensor, constants: Iterable[Tensor]) -> Iterator[None]:
        """A context for that pass.

        Args:
            inputs: (B, ...), what the network is called with.
            constants: Its parameters and buffers.
        """
        self._batch = len(inputs)
        self._axes = ChannelAxes(inputs, constants, self._given_axis)
        try:
            with self._axes:
                yield
        finally:
            self._axes = None

    def enter(self, module: nn.Module, inputs: Any) -> None:
        """A module is called."""
        self._entered[module].append(self._axes.enter(inputs))

    def layers(self, name: str, module: nn.Module | None, inputs: Any, output: Any) -> Iterator[Found]:
        """Settle which tensors of a call are layers.

        Args:
            name: Of the module or operation.
            module: Whose output it is; None: an operation's.
            inputs: That it was called with.
            output: Tensors, in whatever holds them.

        Raises:
            InputError: The caller gives an axis that a layer does not have.
        """
        self.calls[name] += 1
        call = name if self.calls[name] == 1 else f"{name}#{self.calls[name]}"
        begun = self._entered[module].pop() if self._entered[module] else -1
        tensors = list(named_tensors(call, output))
        if not tensors and module is not None:
            self.not_measured[call] = f"no tensor in its output, of type {type(output).__name__}"
        for part, (label, tensor) in enumerate(tensors):
            names = (name, call, label)
            if not self._selection.includes(names, module):
                continue
            reason = self._reason(tensor, begun)
            if reason is None:
                self._aliases[label] = names
                activation = plain(tensor)
                self.magnitudes[label] = activation.detach().abs().amax().double()
                yield Found(part, label, activation, *self._settled_axes(names, tensor, module, inputs))
            elif module is not None or self._selection.names(label):
                self.not_measured[label] = reason

    def _reason(self, tensor: Tensor, begun: int) -> str | None:
        """Why a tensor is no layer; None: it is one."""
        made = self._axes.made(tensor)
        reason = unreadable(tensor)
        if reason is None and (tensor.ndim == 0 or len(tensor) != self._batch):
            return "it does not depend on the images" if made == CONSTANT else not_per_sample(tensor, self._batch)
        if reason is None and self._selection.is_default and CONSTANT < made <= begun:
            return COPY
        return reason

    def _settled_axes(
        self, names: tuple[str, str, str], tensor: Tensor, module: nn.Module | None, inputs: Any
    ) -> tuple[tuple[int, ...], str]:
        try:
            return self._axes.record(tensor, names, module, inputs)
        except ValueError as error:
            raise InputError(f"layer {names[-1]}: {error}") from error

    def _given_axis(self, names: Sequence[str], module: nn.Module | None) -> Any:
        given = self._channel_axis or {}
        if callable(given):
            return given(names[-1], module)
        return next((given[name] for name in reversed(names) if name in given), None)

    def check(self, recorded: Sequence[str], reasons: Mapping[str, str]) -> None:
        """Check that what was asked for is recorded.

        Args:
            recorded: Names of the layers.
            reasons: Why others are none.

        Raises:
            InputError: Something is not, or nothing is.
        """
        met = {alias for name in recorded for alias in self._aliases[name]}
        self._selection.check_found(met, self.calls, reasons)
        if not recorded:
            chosen = "layers= chooses nothing" if self._selection.by_function else "the model calls no module"
            why = "".join(f"; {name}: {reason}" for name, reason in list(reasons.items())[:3])
            raise InputError(f"no layer was recorded: {chosen} that computes something{why}")

    def check_names(self, recorded: Sequence[str]) -> None:
        """Check that names of layers, and those that axes are given for, say which layer is meant.

        Raises:
            InputError: One does not.
        """
        met = {alias for name in recorded for alias in self._aliases[name]}
        for name in self._channel_axis if isinstance(self._channel_axis, Mapping) else ():
            if name not in met:
                raise InputError(f"channel_axis names {name!r}, and no layer of that name was recorded")
        twice = [name for name, count in Counter(recorded).items() if count > 1]
        if twice:
            raise InputError(f"two layers are called {twice[0]}: rename the module, or choose with layers=")

    def never_called(self, model: nn.Module) -> list[str]:
        """Modules of a network that were to be recorded and that no forward pass has called."""
        chosen = self._selection
        if chosen.is_default:
            names = (name for name, _ in leaf_modules(model))
        else:
            names = (name for name, module in named_modules(model) if chosen.includes((name,), module))
        return [name for name in names if not self.calls[name]]


def not_per_sample(tensor: Tensor, batch: int) -> str:
    """Why a tensor with something else than samples along its first axis is no layer."""
    return f"shape {tuple(tensor.shape)} for {batch} samples: its first axis is not the batch"
