"""Finding the layers of a network: which tensors of its first forward pass are recorded, and why others are not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

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
from pytorch.variance.recording.places import Place

COPY = "a copy: all its values belong to other layers"


class LayerFinder:
    """Decides, call by call, which tensors of a forward pass are layers.

    Attributes:
        calls: Number of calls of each module and operation, by name.
        magnitudes: Largest absolute activation of each layer, by name, () float64.
        not_measured: Reason why a tensor in the output of a called module is not a layer, by name.

    Args:
        selection: Layers to record.
        aggregations: Aggregations of each layer with positions.
        channel_axis: Channel axes set by the caller; see ``measure_variance``.
    """

    def __init__(self, selection: LayerSelection, aggregations: list[str], channel_axis: ChannelAxis = None) -> None:
        self.calls: Counter[str] = Counter()
        self.magnitudes: dict[str, Tensor] = {}
        self.not_measured: dict[str, str] = {}
        self._selection = selection
        self._aggregations = aggregations
        self._channel_axis = channel_axis
        self._axes: ChannelAxes | None = None
        self._shape: torch.Size = torch.Size()
        self._entered: dict[nn.Module | None, list[int]] = defaultdict(list)
        self._aliases: dict[str, tuple[str, str, str]] = {}

    @property
    def is_open(self) -> bool:
        """Whether the pass that finds the layers is under way."""
        return self._axes is not None

    @contextmanager
    def following(self, inputs: Tensor, constants: Iterable[Tensor]) -> Iterator[None]:
        """A context for the pass that finds the layers.

        Args:
            inputs: Inputs of the network, (B, ...).
            constants: Parameters and buffers of the network.
        """
        self._shape = inputs.shape
        self._axes = ChannelAxes(inputs, constants)
        try:
            with self._axes:
                yield
        finally:
            self._axes = None

    def enter(self, module: nn.Module, inputs: Any) -> None:
        """Note that a module is called.

        Raises:
            InputError: A convolution gets the whole batch, and takes it for a single image.
        """
        if isinstance(module, _ConvNd) and inputs and isinstance(inputs[0], Tensor):
            axes = len(module.kernel_size) + 1
            if inputs[0].shape == self._shape and len(self._shape) == axes:
                raise InputError(
                    f"the network's {type(module).__name__} takes a batch with {axes} axes for a single image: make a "
                    "batch of single images with torch.stack(images), or add the axis of channels with "
                    "images.unsqueeze(1)"
                )
        self._entered[module].append(self._axes.enter(inputs))

    def layers(
        self, name: str, module: nn.Module | None, inputs: Any, output: Any
    ) -> Iterator[tuple[int, Place, Tensor]]:
        """Decide which tensors of a call are layers.

        Args:
            name: Name of the module or operation.
            module: Module that was called; None for an operation.
            inputs: Arguments of the call.
            output: Result of the call, tensors in any container.

        Yields:
            For each layer, the index of its tensor in the output, its place, and the tensor, (B, ...).

        Raises:
            InputError: The caller has set an axis that a layer does not have.
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
                axes = self._axes.record(tensor, label, self._given_axis(names, module), module, inputs)
                yield part, Place.of(label, activation, *axes, self._aggregations), activation
            elif module is not None or self._selection.names(label):
                self.not_measured[label] = reason

    def _reason(self, tensor: Tensor, begun: int) -> str | None:
        """Reason why a tensor is not a layer; None if it is one."""
        made = self._axes.made(tensor)
        reason = unreadable(tensor)
        if reason is None and (tensor.ndim == 0 or len(tensor) != self._shape[0]):
            return "it does not depend on the images" if made == CONSTANT else not_per_sample(tensor, self._shape[0])
        if reason is None and self._selection.is_default and CONSTANT < made <= begun:
            return COPY
        return reason

    def _given_axis(self, names: Sequence[str], module: nn.Module | None) -> Any:
        given = self._channel_axis or {}
        if callable(given):
            return given(names[-1], module)
        return next((given[name] for name in reversed(names) if name in given), None)

    def check(self, recorded: Sequence[str], reasons: Mapping[str, str]) -> None:
        """Check that all selected layers were recorded.

        Args:
            recorded: Names of the recorded layers.
            reasons: Reasons why others were not recorded.

        Raises:
            InputError: A layer selected by name is missing, or there is no layer.
        """
        met = {alias for name in recorded for alias in self._aliases[name]}
        self._selection.check_found(met, self.calls, reasons)
        if not recorded:
            chosen = "layers= chooses nothing" if self._selection.by_function else "the model calls no module"
            why = "".join(f"; {name}: {reason}" for name, reason in list(reasons.items())[:3])
            raise InputError(f"no layer was recorded: {chosen} that computes something{why}")

    def check_names(self, recorded: Sequence[str]) -> None:
        """Check that layer names are unique, and that ``channel_axis`` names recorded layers.

        Raises:
            InputError: A name is ambiguous or unknown.
        """
        met = {alias for name in recorded for alias in self._aliases[name]}
        for name in self._channel_axis if isinstance(self._channel_axis, Mapping) else ():
            if name not in met:
                raise InputError(f"channel_axis names {name!r}, and no layer of that name was recorded")
        twice = [name for name, count in Counter(recorded).items() if count > 1]
        if twice:
            raise InputError(f"two layers are called {twice[0]}: rename the module, or choose with layers=")

    def never_called(self, model: nn.Module) -> list[str]:
        """Names of the selected modules of a network that no forward pass has called."""
        chosen = self._selection
        if chosen.is_default:
            names = (name for name, _ in leaf_modules(model))
        else:
            names = (name for name, module in named_modules(model) if chosen.includes((name,), module))
        return [name for name in names if not self.calls[name]]


def not_per_sample(tensor: Tensor, batch: int) -> str:
    """Reason why a tensor whose first axis is not the batch is not a layer."""
    return f"shape {tuple(tensor.shape)} for {batch} samples: its first axis is not the batch"
