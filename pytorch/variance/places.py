"""Where the units of a layer belong, and how they get there."""

from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.variance.aggregation import reduce, unit_shapes, unit_type


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

    def moved(self, caller: str | None, batch: int, units: dict[str | None, Tensor]) -> "Place":
        """The place of the same layer in other memory, for another number of samples."""
        return Place(self.name, caller, torch.Size([batch, *self.shape[1:]]), self.axes, self.kind, units)

    def is_of(self, name: str, activation: Tensor) -> bool:
        """Whether it is the place of such an activation of that layer."""
        return (self.name, self.shape) == (name, activation.shape)

    def fill(self, activation: Tensor, *, but: Container[str] = ()) -> None:
        """Write the units of an activation, for every aggregation but some; on a CPU means are left to ``finish``."""
        if activation.requires_grad:  # a model may compute with gradients, which end here
            activation = activation.detach()
        for how, out in self.units.items():
            if how not in but:
                reduce(how, activation, self.axes, self.kind, out)

    def finish(self) -> None:
        """Make means of sums, in the same type in every call, whatever that of the memory."""
        units = self.units["mean"]
        units.copy_(units.to(self.kind).div_(torch.Size([self.shape[axis] for axis in self.axes]).numel()))
