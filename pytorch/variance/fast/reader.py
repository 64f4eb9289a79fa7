"""Read activations into their places, except those whose units follow from other units.

On the plain path, ``read`` fills the place of an activation. On a CPU, it writes sums for means, which ``finish``
divides after the forward pass. It then computes units that follow from those of the previous layer
(``derived_units``). Functions in C, and on CUDA kernels, read several aggregations at once; kernels also read a layer
together with its batch norm and ReLU (``chains``).
"""

from collections.abc import Callable, Container, Set
from typing import Any

import torch
from torch import Tensor, nn

from pytorch.variance.fast.c_library import is_compiled
from pytorch.variance.fast.chains import Chains
from pytorch.variance.fast.compiled_reading import CompiledReading
from pytorch.variance.fast.derived_units import DerivedUnits
from pytorch.variance.fast.triton_import import kernels_for
from pytorch.variance.recording.places import Place, Places


class Reader:
    """Writes the units of all activations, one forward pass at a time.

    Args:
        places: Places of all layers.
        device: Device of the activations.
    """

    def __init__(self, places: Places, device: torch.device) -> None:
        self._places = places
        self._derived = DerivedUnits()
        self._kernels = kernels_for(device)
        self._divides = device.type == "cpu" and self._kernels is None
        self._in_c = device.type == "cpu" and is_compiled()
        self._chains = Chains(self._derived, places, self._kernels) if self._kernels else None
        self._to_finish: list[Callable[[], None]] = []
        self._readings: dict[Place, CompiledReading] = {}
        self._row = places.row

    def restart(self) -> None:
        """Begin another forward pass."""
        self._to_finish.clear()
        if self._row is not self._places.row:  # the memory of all units has moved
            self._row = self._places.row
            self._readings.clear()
            self._derived.forget()
        self._derived.restart()
        if self._chains is not None:
            self._chains.restart()

    def read(self, place: Place, activation: Tensor, module: nn.Module | None, inputs: Any) -> None:
        """Write the units of an activation, except those that ``finish`` computes.

        Args:
            place: Place of its units.
            activation: (B, ...), of any numeric dtype.
            module: Module that computed it; None: an operation did.
            inputs: Positional arguments of the module.
        """
        if activation.requires_grad:  # a model may track gradients, which are not needed here
            activation = activation.detach()
        if self._chains is None or not self._is_in_chain(place, activation, module, inputs):
            derived = self._derived.derivations(module, inputs, activation, place)
            if len(derived) < len(place.units):
                self._fill(place, activation, derived.keys())
            self._to_finish.extend(derived.values())
        self._derived.remember(activation, place)

    def finish(self) -> None:
        """Complete the units of the pass, all at once so that the code stays in the caches."""
        if self._divides:
            self._places.divide()
        for finish in self._to_finish:
            finish()

    def _is_in_chain(self, place: Place, activation: Tensor, module: nn.Module | None, inputs: tuple) -> bool:
        """Whether an activation is read as part of a chain, earlier or now."""
        follows = self._chains.follows(module, inputs, activation, place)
        return follows or self._chains.read(place, activation)

    def _fill(self, place: Place, activation: Tensor, derived: Set[str | None]) -> None:
        """Write the units of an activation for all aggregations that are not derived."""
        if self._in_c:
            read = self._read_in_c(place, activation, derived)
        else:
            read = self._read_on_gpu(place, activation, derived) if activation.is_cuda else set()
        done = derived | read if derived else read
        if len(done) < len(place.units):
            place.fill(activation, but=done)
        if self._kernels is not None and activation.is_cpu:  # beside interpreted kernels, which write means
            place.divide()

    def _read_in_c(self, place: Place, activation: Tensor, derived: Set[str | None]) -> Set[str | None]:
        """Read an activation once for all aggregations that the functions in C support; return those."""
        reading = self._readings.get(place)
        if reading is None or not reading.fits(activation):
            together = _together(place, derived)
            reading = CompiledReading.of(activation, place.axes, together) if together else None
            if reading is None:
                return set()
            self._readings[place] = reading
        reading.read(activation)
        return reading.hows

    def _read_on_gpu(self, place: Place, activation: Tensor, derived: Set[str | None]) -> Set[str | None]:
        """Read an activation once for all aggregations that kernels support; return those."""
        together, axes = _together(place, derived), place.axes
        adjacent = axes and axes == (*range(axes[0], axes[-1] + 1),) and len(axes) == activation.ndim - 2
        if not together or not adjacent or self._kernels is None or not self._kernels.reading.can_read(activation):
            return set()  # kernels need adjacent axes of positions and one axis of channels
        self._kernels.reading.reduce_positions(activation, axes, place.kind, together)
        return together.keys()


def _together(place: Place, derived: Container[str | None]) -> dict[str | None, Tensor]:
    """Memory for units that can be read together: one kind of sum, and the maximum."""
    total = next((how for how in ("mean", "sum", None) if how in place.units and how not in derived), "max")
    return {how: place.units[how] for how in (total, "max") if how in place.units and how not in derived}
