"""Memory for the units of each layer: one place per layer, adjacent in one row per sample."""

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from pytorch.errors import InputError
from pytorch.variance.recording.aggregation import reduce, unit_shapes, unit_type
from pytorch.variance.recording.layers import Layer


@dataclass(eq=False, slots=True)
class Place:
    """Memory for the units of one layer, for a batch of B samples.

    Attributes:
        name: Name of the layer.
        shape: Shape of its activation, (B, ...).
        axes: Axes of its positions.
        axes_known: ``"known"``, ``"assumed"`` or ``"given"``.
        kind: Type in which its units are computed, float32 or float64.
        units: Units for each aggregation, (B, ...); the single key None if the layer has no positions.
    """

    name: str
    shape: torch.Size
    axes: tuple[int, ...]
    axes_known: str
    kind: torch.dtype
    units: dict[str | None, Tensor]

    @classmethod
    def of(
        cls, name: str, activation: Tensor, channels: tuple[int, ...], axes_known: str, aggregations: list[str]
    ) -> "Place":
        """Make a place for the units of an activation, with new memory."""
        kind = unit_type(activation)
        axes = tuple(axis for axis in range(1, activation.ndim) if axis not in channels)
        with torch.inference_mode(
            False
        ):  # inference tensors, from a model that uses that mode, cannot be written to outside
            units = {
                how: torch.empty(len(activation), *shape, dtype=kind, device=activation.device)
                for how, shape in unit_shapes(activation, aggregations, axes).items()
            }
        return cls(name, activation.shape, axes, axes_known, kind, units)

    @property
    def positions(self) -> int:
        """Number of positions that become one unit."""
        return prod(self.shape[axis] for axis in self.axes)

    @property
    def layers(self) -> list[Layer]:
        """The layer, once for each aggregation."""
        channels = tuple(axis for axis in range(1, len(self.shape)) if axis not in self.axes)
        return [
            Layer(self.name, how, tuple(part.shape[1:]) or (1,), channels, self.axes_known)
            for how, part in self.units.items()
        ]

    def move(self, row: Tensor, start: int) -> int:
        """Move to the columns of a row, (B, U), from ``start`` on, with its batch size; return the next column."""
        batch = len(row)
        self.shape = torch.Size([batch, *self.shape[1:]])
        for how, part in self.units.items():
            shape = part.shape[1:]
            self.units[how] = row[:, start : start + shape.numel()].view(batch, *shape)
            start += shape.numel()
        return start

    def fill(self, activation: Tensor, *, but: Container[str] = ()) -> None:
        """Write the units of an activation for all aggregations but some; on a CPU, ``divide`` completes means."""
        for how, out in self.units.items():
            if how not in but:
                reduce(how, activation, self.axes, self.kind, out)

    def divide(self) -> None:
        """Divide sums to get means, always in the type of the units, whatever the type of the memory."""
        if "mean" in self.units:
            units = self.units["mean"]
            units.copy_(units.to(self.kind).div_(self.positions))


class Places:
    """The places of all layers, found in the first call of a model, and by which calls they are filled.

    Calls are counted for each module and operation by itself, so that branches may be computed in any order.

    Attributes:
        layers: What the units of a row are, in order of execution; empty until ``settle``.
        named: The place of each, by its name; empty until ``settle``.
        callers: Modules and operations with a layer; empty until ``settle``.
        row: (B, U), the units of all layers side by side.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.named: dict[str, Place] = {}
        self.callers: set[str] = set()
        self.row = torch.empty(0, 0)
        self._places: list[Place] = []
        self._divisors: Tensor | None = None
        self._calls: dict[str, list[list[tuple[int, Place]]]] = {}
        self._made: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def restart(self, batch: int) -> None:
        """Begin another call of the model, with ``batch`` samples."""
        self._made.clear()
        if self.layers and len(self.row) != batch:
            self.row = self.row.new_empty(batch, self.row.shape[1])
            self._move()

    def append(self, caller: str, places: list[tuple[int, Place]]) -> None:
        """Add a call of the first pass: for each of its layers, the index of the tensor and its place."""
        self._calls.setdefault(caller, []).append(places)
        self._places += [place for _, place in places]

    def of_call(self, caller: str) -> list[tuple[int, Place]]:
        """Places for the next call of a module or an operation, each with the index of its tensor.

        Raises:
            InputError: The first pass had fewer calls.
        """
        number = self._made.get(caller, 0)
        self._made[caller] = number + 1
        calls = self._calls.get(caller, ())
        if number >= len(calls):
            raise changed(caller)
        return calls[number]

    def check_complete(self) -> None:
        """Raise InputError if a layer is missing from the call."""
        for name in self.callers:
            if self._made[name] < len(self._calls[name]):
                raise changed(name)

    def divide(self) -> None:
        """Divide the sums of all places to get means."""
        if self._divisors is not None:
            self.row.div_(self._divisors)
            return
        for place in self._places:
            place.divide()

    def settle(self, without: Container[str] = ()) -> None:
        """Fix the layers: all that were found, without some names."""
        self._places = [place for place in self._places if place.name not in without]
        self._calls = {
            caller: [[each for each in call if each[1].name not in without] for call in calls]
            for caller, calls in self._calls.items()
        }
        self.callers = {caller for caller, calls in self._calls.items() if any(calls)}
        self.named = {place.name: place for place in self._places}
        self.layers = [layer for place in self._places for layer in place.layers]
        units = [part for place in self._places for part in place.units.values()]
        self.row = torch.cat([part.reshape(len(part), -1) for part in units], dim=1) if units else self.row[:, :0]
        self._divisors = None
        if {place.kind for place in self._places} == {self.row.dtype}:
            counts = [place.positions if how == "mean" else 1 for place in self._places for how in place.units]
            widths = [part[0].numel() for part in units]
            self._divisors = torch.tensor(counts).repeat_interleave(torch.tensor(widths)).to(self.row)
        self._move()

    def _move(self) -> None:
        """Move each layer into the row.

        Small arrays that lived until the end of a forward pass would fragment memory that the model could reuse.
        """
        start = 0
        for place in self._places:
            start = place.move(self.row, start)


def changed(name: str, how: str = "") -> InputError:
    """Error for a network whose calls differ; ``how`` says in what."""
    return InputError(
        f"the layers changed between two calls of the model (layer {name}{how}): "
        "every input must have the same size and take the same path"
    )
