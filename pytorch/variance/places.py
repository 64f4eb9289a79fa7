"""Where the units of a layer belong, and how they get there: a place for each layer, and all of them side by side."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytorch.errors import InputError
from pytorch.variance.aggregation import reduce, reduce_by_kernels, unit_shapes, unit_type
from pytorch.variance.layers import Layer


@dataclass(frozen=True, slots=True)
class Place:
    """The memory that the units of one layer are written into, for a batch of B samples.

    Attributes:
        name: Of the layer.
        caller: Name of the module whose only output the layer is; None if it is a part of one, or an operation's.
        shape: Of its activation, (B, ...).
        axes: Along which its positions lie.
        kind: In which type its units are computed: float32 or float64.
        units: For each aggregation its units, (B, ...); one entry, None, where there are no positions.
    """

    name: str
    caller: str | None
    shape: torch.Size
    axes: tuple[int, ...]
    kind: torch.dtype
    units: dict[str | None, Tensor]

    @classmethod
    def of(
        cls, name: str, caller: str | None, activation: Tensor, axes: tuple[int, ...], aggregations: list[str]
    ) -> "Place":
        """Make a place for the units of an activation, in memory of its own."""
        kind = unit_type(activation)
        with torch.inference_mode(False):  # a model may compute in it, and what is made there cannot be written to here
            units = {
                how: activation.new_empty(len(activation), *shape, dtype=kind)
                for how, shape in unit_shapes(activation, aggregations, axes).items()
            }
        return cls(name, caller, activation.shape, axes, kind, units)

    def moved(self, batch: int, units: dict[str | None, Tensor]) -> "Place":
        """The place of the same layer in other memory, for another number of samples."""
        return replace(self, shape=torch.Size([batch, *self.shape[1:]]), units=units)

    def is_of(self, name: str, activation: Tensor) -> bool:
        """Whether it is the place of such an activation of that layer."""
        return (self.name, self.shape) == (name, activation.shape)

    def fill(self, activation: Tensor, *, but: Container[str] = ()) -> None:
        """Write the units of an activation, for every aggregation but some; on a CPU means are left to ``finish``."""
        if activation.requires_grad:  # a model may compute with gradients, which end here
            activation = activation.detach()
        outs = {how: out for how, out in self.units.items() if how not in but}
        if activation.is_cuda:
            outs = reduce_by_kernels(activation, self.axes, self.kind, outs)
        for how, out in outs.items():
            reduce(how, activation, self.axes, self.kind, out)

    def finish(self) -> None:
        """Make means of sums, in the same type in every call, whatever that of the memory."""
        units = self.units["mean"]
        units.copy_(units.to(self.kind).div_(torch.Size([self.shape[axis] for axis in self.axes]).numel()))


class Places:
    """The places of all layers in the order in which a model computes them: found in its first call, the same in all.

    Attributes:
        layers: What the units of a row are, in order; empty until ``settle``.
        named: The place of each, by its name; empty until ``settle``.
        row: (B, U), the units of all layers side by side.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.named: dict[str, Place] = {}
        self.row = torch.empty(0, 0)
        self._places: list[Place] = []
        self._next = 0

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def restart(self, batch: int) -> None:
        """Another call of the model begins, with ``batch`` samples."""
        self._next = 0
        if not self.layers:
            self._places.clear()
        elif len(self.row) != batch:
            self.row = self.row.new_empty(batch, self.row.shape[1])
            self._move()

    def take(self, caller: str, output: object) -> Place | None:
        """The next place, if it is known to be that of the only output of this module; else it stays the next."""
        if not self.layers or self._next >= len(self._places):
            return None
        place = self._places[self._next]
        if place.caller != caller or type(output) is not Tensor or output.shape != place.shape:
            return None
        self._next += 1
        return place

    def find(self, name: str, activation: Tensor) -> Place:
        """The next place, which must be that of this layer.

        Raises:
            InputError: It is another's.
        """
        if self._next >= len(self._places) or not self._places[self._next].is_of(name, activation):
            raise _changed(name)
        self._next += 1
        return self._places[self._next - 1]

    def append(self, place: Place) -> Place:
        """Take the place of a layer that the first call has come to."""
        self._places.append(place)
        self._next += 1
        return place

    def check_complete(self) -> None:
        """Raise InputError if the call has not come to every layer."""
        if self._next < len(self._places):
            raise _changed(self._places[self._next].name)

    def settle(self, in_parts: Container[str]) -> None:
        """Take the layers that the first call has found for those of every call.

        Args:
            in_parts: Modules whose output is not always one tensor, or not always wanted.
        """
        units = [(place.name, how, units) for place in self._places for how, units in place.units.items()]
        self.layers = [Layer(name, how, part.shape[1:]) for name, how, part in units]
        self.row = torch.cat([part.reshape(len(part), -1) for _, _, part in units], dim=1)
        self._places = [replace(place, caller=None) if place.caller in in_parts else place for place in self._places]
        self._move()

    def _move(self) -> None:
        """Give every layer its stretch of the row to write its units into.

        Small arrays that lived until the end of a forward pass would lie in the gaps that larger ones leave, and keep
        the model from reusing them.
        """
        batch = len(self.row)
        stretches = iter(self.row.split([layer.units for layer in self.layers], dim=1))
        self._places = [
            place.moved(batch, {how: next(stretches).view(batch, *part.shape[1:]) for how, part in place.units.items()})
            for place in self._places
        ]
        self.named = {place.name: place for place in self._places}


def _changed(name: str) -> InputError:
    return InputError(
        f"the layers changed between two calls of the model (layer {name}): "
        "every input must have the same size and take the same path"
    )
