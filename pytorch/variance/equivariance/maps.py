"""Same-equivariance in the single pass: each feature map is turned back as soon as it is computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytorch.errors import InputError
from pytorch.variance.equivariance.map_accumulator import MapAccumulator
from pytorch.variance.equivariance.turning import Turning
from pytorch.variance.recording.aggregation import unit_type
from pytorch.variance.recording.layers import Layer
from pytorch.variance.recording.places import Place
from pytorch.variance.transforming import Transformation

INPUT = "\0input"
"""Name of the images among the layers; no module can have it."""


@dataclass(frozen=True)
class MapLayer:
    """A layer whose maps are turned back.

    Attributes:
        name: Name of the layer.
        channels: Shape of its channels, of one sample.
        turning: How its maps are turned back; None if it has no positions.
        size: Height and width of its maps; None if it has no positions.
    """

    name: str
    channels: tuple[int, ...]
    turning: Turning | None
    size: tuple[int, int] | None

    @property
    def positions(self) -> int:
        """Number of positions that are read; 1 if there are none."""
        return 1 if self.turning is None else len(self.turning.positions)

    @property
    def kept(self) -> int:
        """Number of positions that all transformations keep; 1 if there are none."""
        return 1 if self.turning is None else self.turning.kept

    @property
    def places(self) -> np.ndarray:
        """Row and column of the positions that are read, (P, 2) int64; (0, 2) if there are none."""
        return np.zeros((0, 2), dtype=np.int64) if self.turning is None else self.turning.positions.numpy()


class TurnedBackMaps:
    """Reads the feature maps of one network, turned back, and adds them to sums.

    Call ``begin`` before each forward pass, ``read`` with every activation in it, ``add`` after it, and ``end`` after
    the last transformation of a batch; ``settle`` once, after the first forward pass.

    Attributes:
        layers: The images, then the layers, in order of execution; empty before ``settle``.
        not_turned: Reason why a layer is not turned back, by name.
        accumulator: Sums; None before the first ``add``.

    Args:
        transformations: Transformations with inverses.
        dispersion: ``"std"`` or ``"variance"``.
        positions: Greatest number of positions of each map; None: all.
        by_class: Whether to measure each class, too.
        class_count: Number of classes that are named; None: they are not.
        seed: Random seed for the positions.
    """

    def __init__(
        self,
        transformations: Sequence[Transformation],
        dispersion: str,
        positions: int | None,
        by_class: bool,
        class_count: int | None,
        seed: int,
    ) -> None:
        self.layers: list[MapLayer] = []
        self.not_turned: dict[str, str] = {}
        self.accumulator: MapAccumulator | None = None
        self.by_class = by_class
        self._transformations = transformations
        self._dispersion = dispersion
        self._positions = positions
        self._reserved = class_count or 0 if by_class else 0
        self._classes = 1
        self._seed = seed
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
        if INPUT in self.not_turned:
            raise InputError(f"images of shape {tuple(inputs.shape)} cannot be turned back: {self.not_turned[INPUT]}")

    def read(self, place: Place, activation: Tensor) -> None:
        """Read the activation of a layer, turned back if it is a map."""
        self._read(place.name, activation.detach(), place.axes)

    def _read(self, name: str, activation: Tensor, axes: tuple[int, ...]) -> None:
        layer = self._known.get(name) or self._learn(name, activation, axes)
        if name in self.not_turned:
            return
        if layer.turning is None:
            self._units[name] = activation.reshape(len(activation), 1, -1).to(unit_type(activation), copy=True)
        else:
            maps = activation.movedim(axes, (-2, -1))
            self._units[name] = layer.turning.read(maps if maps.ndim == 4 else maps.flatten(1, -3), self._step)

    def _learn(self, name: str, activation: Tensor, axes: tuple[int, ...]) -> MapLayer:
        size = tuple(activation.shape[axis] for axis in axes)
        channels = tuple(length for axis, length in enumerate(activation.shape) if axis not in (0, *axes)) or (1,)
        if set(size) == {1}:  # a single position is none
            size = ()
        turning = None
        if len(size) not in (0, 2):
            self.not_turned[name] = f"its {len(size)} axes of positions are no map (H, W)"
        elif size:
            turning = self._turning(size)
            if not len(turning.positions):
                self.not_turned[name] = (
                    f"no position of its map of {size[0]} × {size[1]} is kept by all transformations"
                )
                turning = None
        self._known[name] = MapLayer(name, channels, turning, size or None)
        return self._known[name]

    def _turning(self, size: tuple[int, int]) -> Turning:
        if size not in self._turnings:
            self._turnings[size] = Turning(self._transformations, *size, self._size, self._positions, self._seed)
        return self._turnings[size]

    def settle(self, layers: Sequence[Layer], classes: int) -> tuple[int, int]:
        """Fix the layers, after the first forward pass.

        Args:
            layers: Layers that the recorder has kept.
            classes: Number of classes, K, as far as known.

        Returns:
            Number of positions of all channels, and number of classes for which they are measured.

        Raises:
            InputError: No layer can be turned back.
        """
        names = dict.fromkeys([INPUT, *(layer.name for layer in layers)])
        self.layers = [self._known[name] for name in names if name in self._units]
        if len(self.layers) == 1:
            name = layers[0].name
            raise InputError(f"no layer can be turned back; layer {name}: {self.not_turned[name]}")
        self._classes = classes if self.by_class else 1
        return sum(self._units[layer.name].shape[1:].numel() for layer in self.layers), self._classes

    def add(self, labels: Tensor) -> None:
        """Add the activations of a forward pass, of samples with these labels, (B,) int64 on the CPU."""
        units = [self._units[layer.name].flatten(1) for layer in self.layers]
        if self.accumulator is None:
            self.accumulator = self._made(len(labels), units[0].device)
        if self._step == 0:
            self.accumulator.begin(labels if self.by_class else torch.zeros_like(labels))
        self.accumulator.add(units)

    def _made(self, batch: int, device: torch.device) -> MapAccumulator:
        channels = [math.prod(layer.channels) for layer in self.layers]
        return MapAccumulator(
            len(self._transformations), channels, [layer.positions for layer in self.layers], device=device,
            dispersion=self._dispersion, labels=range(self._reserved), batch=batch,
            wholes=[[*range(1, len(channels))]], classes=self._classes,
        )  # fmt: skip

    def end(self) -> None:
        """Close a batch."""
        self.accumulator.end()
