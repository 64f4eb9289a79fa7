"""Where the units of a layer belong, and how they get there: a place for each layer, and all of them side by side."""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytorch.errors import InputError
from pytorch.variance.recording.aggregation import reduce, unit_shapes, unit_type
from pytorch.variance.recording.layers import Layer


@dataclass(frozen=True, slots=True)
class Place:
    """The memory that the units of one layer are written into, for a batch of B samples.

    Attributes:
        name: Of the layer.
        shape: Of its activation, (B, ...).
        axes: Along which its positions lie.
        axes_known: Whether these are known, assumed or given.
        kind: In which type its units are computed: float32 or float64.
        units: For each aggregation its units, (B, ...); one entry, None, where there are no positions.
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
        """Make a place for the units of an activation, in memory of its own."""
        kind = unit_type(activation)
        axes = tuple(axis for axis in range(1, activation.ndim) if axis not in channels)
        with torch.inference_mode(False):  # a model may compute in it, and what is made there cannot be written to here
            units = {
                how: torch.empty(len(activation), *shape, dtype=kind, device=activation.device)
                for how, shape in unit_shapes(activation, aggregations, axes).items()
            }
        return cls(name, activation.shape, axes, axes_known, kind, units)

    @property
    def layers(self) -> list[Layer]:
        """What its units are: a layer for each aggregation."""
        channels = tuple(axis for axis in range(1, len(self.shape)) if axis not in self.axes)
        return [
            Layer(self.name, how, tuple(part.shape[1:]) or (1,), channels, self.axes_known)
            for how, part in self.units.items()
        ]

    def moved(self, batch: int, units: dict[str | None, Tensor]) -> "Place":
        """The place of the same layer in other memory, for another number of samples."""
        return replace(self, shape=torch.Size([batch, *self.shape[1:]]), units=units)

    def fill(self, activation: Tensor, *, but: Container[str] = ()) -> None:
        """Write the units of an activation for all aggregations except some; on a CPU ``finish`` completes means."""
        for how, out in self.units.items():
            if how not in but:
                reduce(how, activation, self.axes, self.kind, out)

    def finish(self) -> None:
        """Make means of sums, in the same type in every call, whatever that of the memory."""
        units = self.units["mean"]
        units.copy_(units.to(self.kind).div_(torch.Size([self.shape[axis] for axis in self.axes]).numel()))


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
        self._calls: dict[str, list[list[tuple[int, int]]]] = defaultdict(list)
        self._ready: dict[str, list[list[tuple[int, Place]]]] = {}
        self._made: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def restart(self, batch: int) -> None:
        """Another call of the model begins, with ``batch`` samples."""
        self._made.clear()
        if self.layers and len(self.row) != batch:
            self.row = self.row.new_empty(batch, self.row.shape[1])
            self._move()

    def append(self, caller: str, places: list[tuple[int, Place]]) -> None:
        """Add a call that the first pass has come to, and which of the tensors that it gives belong where."""
        start = len(self._places)
        self._calls[caller].append([(part, start + index) for index, (part, _) in enumerate(places)])
        self._places += [place for _, place in places]

    def of_call(self, caller: str) -> list[tuple[int, Place]]:
        """The places of the next call of a module or an operation, and which of its tensors they are for.

        Raises:
            InputError: It was called less often in the first pass.
        """
        number = self._made.get(caller, 0)
        self._made[caller] = number + 1
        calls = self._ready.get(caller, ())
        if number >= len(calls):
            raise changed(caller)
        return calls[number]

    def check_complete(self) -> None:
        """Raise InputError if the call has not come to every layer."""
        for name in self.callers:
            if self._made[name] < len(self._calls[name]):
                raise changed(name)

    def settle(self, keep: Callable[[Place], bool] = lambda place: True) -> None:
        """Take the layers that have been found, or some of them, for those of every call."""
        kept = [index for index, place in enumerate(self._places) if keep(place)]
        numbers = {index: number for number, index in enumerate(kept)}
        self._places = [self._places[index] for index in kept]
        for caller, calls in self._calls.items():
            self._calls[caller] = [
                [(part, numbers[index]) for part, index in call if index in numbers] for call in calls
            ]
        self.callers = {name for name, calls in self._calls.items() if any(calls)}
        self.layers = [layer for place in self._places for layer in place.layers]
        units = [part for place in self._places for part in place.units.values()]
        self.row = torch.cat([part.reshape(len(part), -1) for part in units], dim=1) if units else self.row[:, :0]
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
        self._ready = {
            caller: [[(part, self._places[index]) for part, index in call] for call in calls]
            for caller, calls in self._calls.items()
        }


def changed(name: str) -> InputError:
    """The error of a network that does not do in every call what it did in the first."""
    return InputError(
        f"the layers changed between two calls of the model (layer {name}): "
        "every input must have the same size and take the same path"
    )
