"""Same-equivariance in the single pass: each feature map is turned back as soon as it is computed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pytorch.errors import InputError
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.map_layers import MapLayer, MapSetup, sizes_of
from pytorch.variance.equivariance.turning import Turning
from pytorch.variance.recording.aggregation import unit_type
from pytorch.variance.recording.layers import Layer
from pytorch.variance.recording.places import Place
from pytorch.variance.transforming import Transformation

INPUT = "\0input"
"""Name of the images among the layers; no module can have it."""


class TurnedBackMaps:
    """Reads the feature maps of one network, turned back, and adds them to sums.

    Call ``begin`` before each forward pass, ``read`` with every activation in it, ``add`` after it, and ``end`` after
    the last transformation of a batch; ``settle`` once, after the first forward pass.

    Attributes:
        accumulator: Sums; None before the first ``add``.

    Args:
        transformations: Transformations with inverses.
        dispersion: ``"std"`` or ``"variance"``.
        positions: Greatest number of positions of each map; None: all.
        by_class: Whether to measure each class, too.
        seed: Random seed for the positions.
    """

    def __init__(
        self,
        transformations: Sequence[Transformation],
        dispersion: str,
        positions: int | None,
        by_class: bool,
        seed: int,
    ) -> None:
        self.accumulator: MapAccumulator | None = None
        self._transformations = transformations
        self._dispersion = dispersion
        self._positions = positions
        self._by_class = by_class
        self._seed = seed
        self._layers: list[MapLayer] = []
        self._labels: list[int] = []
        self._not_turned: dict[str, str] = {}
        self._known: dict[str, MapLayer] = {}
        self._turnings: dict[tuple[int, int], Turning] = {}
        self._units: dict[str, Tensor] = {}
        self._step = 0

    def begin(self, step: int, inputs: Tensor) -> None:
        """Start the forward pass of a batch, (B, C, H, W), under transformation number ``step``.

        Raises:
            InputError: The batch has other axes, or no position of it is kept by all transformations.
        """
        if inputs.ndim != 4:
            raise InputError(
                f"images of shape {tuple(inputs.shape)} have no maps (B, C, H, W) that could be turned back"
            )
        self._step = step
        self._size = tuple(inputs.shape[2:])
        self._read(INPUT, inputs, (2, 3))
        if INPUT in self._not_turned:
            raise InputError(f"images of shape {tuple(inputs.shape)} cannot be turned back: {self._not_turned[INPUT]}")

    def read(self, place: Place, activation: Tensor) -> None:
        """Read the activation of a layer, turned back if it is a map."""
        self._read(place.name, activation.detach(), place.axes)

    def _read(self, name: str, activation: Tensor, axes: tuple[int, ...]) -> None:
        layer = self._known.get(name) or self._learn(name, activation, axes)
        if name in self._not_turned:
            return
        if layer.size:
            maps = activation.movedim(axes, (-2, -1))
            maps = maps.reshape(len(maps), layer.channels, *layer.size)
            self._units[name] = self._turning(*layer.size).read(maps, self._step)
        else:
            self._units[name] = activation.reshape(len(activation), 1, -1).to(unit_type(activation), copy=True)

    def _learn(self, name: str, activation: Tensor, axes: tuple[int, ...]) -> MapLayer:
        size = [activation.shape[axis] for axis in axes]
        shape = tuple(length for axis, length in enumerate(activation.shape) if axis not in (0, *axes)) or (1,)
        if {*size} == {1}:  # a single position is none
            size = []
        places, kept = np.zeros((0, 2), dtype=np.int64), 1
        if len(size) not in (0, 2):
            self._not_turned[name] = f"its {len(size)} axes of positions are no map (H, W)"
        elif size:
            turning = self._turning(*size)
            places, kept = turning.positions.numpy(), turning.kept
            if not kept:
                self._not_turned[name] = (
                    f"no position of its map of {size[0]} × {size[1]} is kept by all transformations"
                )
        self._known[name] = MapLayer(name, shape, size, places, kept)
        return self._known[name]

    def _turning(self, height: int, width: int) -> Turning:
        size = height, width
        if size not in self._turnings:
            self._turnings[size] = Turning(self._transformations, *size, self._size, self._positions, self._seed)
        return self._turnings[size]

    def settle(self, layers: Sequence[Layer], labels: list[int], classes: int) -> tuple[int, int]:
        """Fix the layers, after the first forward pass.

        Args:
            layers: Layers that the recorder has kept.
            labels: Labels that are known.
            classes: Number of classes, K, as far as known.

        Returns:
            Number of positions of all channels, and number of classes for which they are measured.

        Raises:
            InputError: No layer can be turned back.
        """
        names = dict.fromkeys([INPUT, *(layer.name for layer in layers)])
        self._layers = [self._known[name] for name in names if name in self._units]
        if len(self._layers) == 1:
            name = layers[0].name
            raise InputError(f"no layer can be turned back; layer {name}: {self._not_turned[name]}")
        if self._by_class:
            self._labels = labels
        positions = sum(self._units[layer.name].shape[1:].numel() for layer in self._layers)
        return positions, classes if self._by_class else 1

    def add(self, labels: Tensor) -> None:
        """Add the activations of a forward pass, of samples with these labels, (B,) int64 on the CPU."""
        units = [self._units[layer.name].flatten(1) for layer in self._layers]
        if self.accumulator is None:
            self.accumulator = self._made(units[0].device)
        if self._step == 0:
            self.accumulator.begin(labels if self._by_class else torch.zeros_like(labels))
        self.accumulator.add(units)

    def _made(self, device: torch.device) -> MapAccumulator:
        how = {"dispersion": self._dispersion, "labels": self._labels, "device": device}
        return MapAccumulator(len(self._transformations), **sizes_of(self._layers), **how)

    def end(self) -> None:
        """Close a batch."""
        self.accumulator.end()

    def setup(self, epsilon: float) -> MapSetup:
        """Describe a pass that has ended, of a network with this machine epsilon."""
        return MapSetup(self._layers, dict(self._not_turned), self._by_class, epsilon)
