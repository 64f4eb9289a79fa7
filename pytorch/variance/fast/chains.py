"""Chains of layers on CUDA: a layer, the batch norm and the ReLU after it, read together.

In evaluation mode a batch norm is y = s·x + b for each channel. While x is read, the units of y, rounded to its dtype,
and of max(y, 0) cost almost nothing. The previous call shows what follows a layer. When the next layer runs, it is
checked against that, and read separately if it differs.
"""

from dataclasses import dataclass, replace
from types import ModuleType

from torch import Tensor, nn

from pytorch.variance.fast.derived_units import Affine, BatchNorm, DerivedUnits
from pytorch.variance.recording.places import Place, Places

TOGETHER = {"mean", "max"}
"""Aggregations that can be read together."""


@dataclass(frozen=True)
class Chain:
    """What follows a layer, the head of the chain.

    Attributes:
        norm: Batch norm after the head, or None.
        normed: Layer name of the batch norm, or None.
        rectified: Layer name of the ReLU at the end, or None.
    """

    norm: BatchNorm | None = None
    normed: str | None = None
    rectified: str | None = None


class Chains:
    """Remembers what follows each layer, and reads layers together.

    Args:
        derived: Tracker of the previous activation.
        places: Places of all layers.
        kernels: Kernels for the device.
    """

    def __init__(self, derived: DerivedUnits, places: Places, kernels: ModuleType) -> None:
        self._derived = derived
        self._places = places
        self._kernels = kernels
        self._chains: dict[str, Chain] = {}
        self._heads: dict[str, str] = {}
        self._written: dict[str, Affine | None] = {}

    def restart(self) -> None:
        """Begin another call of the model."""
        self._written.clear()

    def read(self, place: Place, activation: Tensor) -> bool:
        """Write the units of an activation and of what follows it; return whether that was possible."""
        chain = self._chains.get(place.name)
        known = chain is not None and self._places.named  # empty in the first call, in which names may recur
        if not known or not self._kernels.reading.can_read(activation):
            return False
        affine = self._derived.affine(chain.norm, place.kind) if chain.norm else None
        if affine is None and chain.norm:
            return False
        following = [self._places.named[name].units if name else None for name in (chain.normed, chain.rectified)]
        numbers = (affine.scale, affine.shift) if affine else None
        self._kernels.reading.read_chain(activation, place.axes, place.kind, numbers, [place.units, *following])
        self._written[place.name] = affine
        return True

    def follows(self, module: nn.Module | None, inputs: tuple, activation: Tensor, place: Place) -> bool:
        """Whether an activation continues a chain and its units were written together with those of the head.

        Remembers a batch norm or ReLU that follows a layer for the first time.
        """
        if type(module) not in (nn.BatchNorm2d, nn.ReLU) or not inputs or self._derived.is_altered(module):
            return False
        before = self._derived.place_of(inputs[0], module)
        if before is None or not _are_alike(before, place) or activation.dtype != inputs[0].dtype:
            return False
        return (self._follows_as_relu if isinstance(module, nn.ReLU) else self._follows_as_norm)(module, before, place)

    def _follows_as_norm(self, module: BatchNorm, before: Place, place: Place) -> bool:
        affine = self._derived.affine(module, place.kind)
        # Parameters of lower precision make a batch norm round its operands; and a chain has only one batch norm.
        if affine is None or affine.numbers[0].dtype != place.kind or before.name in self._heads:
            return False
        chain = self._chains.setdefault(before.name, Chain(module, place.name))
        self._heads[place.name] = before.name
        if (chain.norm, chain.normed) != (module, place.name) or self._written.get(before.name) is not affine:
            return False
        self._written[place.name] = affine
        return True

    def _follows_as_relu(self, module: nn.ReLU, before: Place, place: Place) -> bool:
        head = self._heads.get(before.name, before.name)
        chain = self._chains.get(head, Chain())
        if (chain.normed or head) != before.name:
            return False
        if chain.rectified is None:
            self._chains[head] = replace(chain, rectified=place.name)
        return chain.rectified == place.name and before.name in self._written


def _are_alike(before: Place, place: Place) -> bool:
    """Whether both are feature maps of the same shape and aggregations, all of which can be read together."""
    same = (before.shape, before.kind, before.axes, (2, 3)) == (place.shape, place.kind, place.axes, place.axes)
    return same and before.units.keys() == place.units.keys() and place.units.keys() <= TOGETHER
