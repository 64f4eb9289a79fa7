"""The most and the least invariant units, and the images that drive them.

Images make the number of a unit credible: those with its highest activations, and these activations while the images
are transformed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pytorch.errors import InputError
from pytorch.names import find_name
from pytorch.transformations.warping import as_floating
from pytorch.variance import VarianceResult
from pytorch.variance.measure import device_of, on_device
from pytorch.variance.precision import autocast
from pytorch.variance.recording.left_as_found import left_as_found
from pytorch.variance.recording.recorder import ActivationRecorder
from pytorch.variance.statistics.moments import Groups, Moments
from pytorch.variance.transforming import description

Transformation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class UnitExamples:
    """The images that drive some units of a layer.

    Attributes:
        layer: Layer name, as in results.
        units: Indices of the U units.
        images: (U, K) int64, indices of the images with the highest upright activations of each unit, highest first.
        activations: (U, K, T) float64, activations for these images under each transformation.
        mean: (U,) float64, mean activation over all upright samples.
        sd: (U,) float64, their standard deviation (ddof = 1); NaN for a single sample.
        samples: Number of samples.
        transformations: Descriptions of the T transformations, in order.
    """

    layer: str
    units: list[int]
    images: np.ndarray
    activations: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    samples: int
    transformations: list[str]


def find_layer(name: str, known: Sequence[str]) -> str:
    """Return the layer of exactly this name, or else the match of ``pytorch.names.find_name``.

    Raises:
        InputError: There is none; the message lists the layers, nearest first.

    >>> find_layer("ReLU_1", ["relu1", "relu1#2"])
    'relu1'
    """
    return name if name in known else find_name(name, known, "layer")


def extreme_units(result: VarianceResult, layer: str, count: int = 3) -> tuple[list[int], list[int]]:
    """Choose the most and the least invariant units of a layer, by NV over all samples.

    This ignores units without a finite NV, constant ones, whose NV of 1 is a convention, and those that vary by
    rounding alone.

    Args:
        result: Measurement with an aggregation.
        layer: Layer name; see ``find_layer``.
        count: Maximum number of units of each kind. Fewer than ``2 * count`` units are split in half.

    Returns:
        Indices of the most invariant units, lowest NV first, and of the least invariant, highest NV first. Equal
        units are in the order of their indices. No unit is in both lists.

    Raises:
        InputError: There is no such layer, or feature maps were not aggregated.
    """
    _check_aggregation(result.aggregation)
    layer = find_layer(layer, result.layer_names)
    values = result.normalized_variance()[layer].ravel()
    still = result.constant_units()[layer] | result.rounding_units()[layer]
    eligible = np.flatnonzero(np.isfinite(values) & ~still.ravel())
    rising = eligible[np.argsort(values[eligible], kind="stable")]
    most, rest = np.split(rising, [min(count, (len(rising) + 1) // 2)])
    least = rest[np.argsort(-values[rest], kind="stable")][:count]
    return most.tolist(), least.tolist()


def unit_examples(
    network: nn.Module,
    images: Tensor,
    layer: str,
    units: Sequence[int],
    transformations: Sequence[Transformation],
    preprocess: Callable[[Tensor], Tensor] | None = None,
    aggregation: str = "mean",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    images_per_unit: int = 3,
    *,
    precision: str = "fp32",
    upright: Transformation | None = None,
) -> UnitExamples:
    """Find the images that drive some units most, and the activations of these units under each transformation.

    A first pass over all upright images keeps only the best ones for each unit. A second pass transforms these. The
    network stays unchanged.

    Args:
        network: Any module.
        images: (N, C, H, W) uint8, or floating point.
        layer: Layer name; see ``find_layer``.
        units: Unit indices, as from ``extreme_units``.
        transformations: Transformations of the measurement, or a finer set for a smoother curve.
        preprocess: Function for each transformed batch before the network (normalisation).
        aggregation: Aggregation of the measurement.
        batch_size: Maximum number of images per forward pass.
        device: Device to compute on; None: the device of the network.
        images_per_unit: Number of images per unit, all if there are fewer. Of images with equal activations, the
            first ones count.
        precision: Precision of the measurement.
        upright: Transformation for upright images, if the measurement masks all images, for example; None: none.

    Raises:
        InputError: There is no such layer or unit, or no image, or the aggregation is ``"none"``.
    """
    _check_aggregation(aggregation)
    if len(images) == 0 or images_per_unit < 1 or not transformations:
        raise InputError("examples of units need an image, a place for it and a transformation at least")
    with on_device(network, device), left_as_found(network), torch.no_grad():
        where = device_of(network)
        layer = _recorded_name(network, _inputs(images[:1].to(where), None, preprocess), aggregation, layer)
        with ActivationRecorder(network, aggregation, [layer]) as recorder:
            reader = _Reader(recorder, layer, list(units), preprocess, precision, where)
            chosen, moments = _upright(reader, images, batch_size, images_per_unit, upright)
            curves = _curves(reader, images, chosen, transformations, batch_size)
    return UnitExamples(
        layer=layer,
        units=list(units),
        images=chosen,
        activations=curves,
        mean=moments.mean[0].numpy(),
        sd=moments.dispersion("std")[0].numpy(),
        samples=len(images),
        transformations=[*map(description, transformations)],
    )


def _check_aggregation(aggregation: str) -> None:
    if aggregation == "none":
        raise InputError(
            "units are shown of measurements whose feature maps were aggregated (mean, max or sum): "
            "with aggregation none every position would be one"
        )


def _inputs(
    images: Tensor, transformation: Transformation | None, preprocess: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """Return the input of the network for some images, as in a measurement; without a transformation, upright."""
    inputs = (transformation or as_floating)(images.clone())  # it may work in place
    return inputs if preprocess is None else preprocess(inputs)


def _recorded_name(network: nn.Module, inputs: Tensor, aggregation: str, layer: str) -> str:
    """Return the recorder's name of a layer, which may be a block or an operation.

    Raises:
        InputError: There is none; the message lists the layers of leaf modules.
    """

    def names(chosen: list[str] | None) -> list[str]:
        with ActivationRecorder(network, aggregation, chosen) as recorder:
            recorder(recorder.own_copy(inputs))
        return [recorded.name for recorded in recorder.layers]

    with suppress(InputError):
        if layer in names([layer]):
            return layer
    return find_layer(layer, names(None))


@dataclass(frozen=True)
class _Reader:
    """Reads the activations of some units."""

    recorder: ActivationRecorder
    layer: str
    units: list[int]
    preprocess: Callable[[Tensor], Tensor] | None
    precision: str
    device: torch.device

    def __call__(self, images: Tensor, transformation: Transformation | None = None) -> Tensor:
        """Return the activations of ``images``, transformed or upright, (B, U) float64 on the CPU."""
        inputs = _inputs(images.to(self.device), transformation, self.preprocess)
        with autocast(self.precision, self.device):
            row = self.recorder(self.recorder.own_copy(inputs))
        # The recorder returns every call of a module.
        sizes = [layer.units for layer in self.recorder.layers]
        index = [layer.name for layer in self.recorder.layers].index(self.layer)
        if not all(0 <= unit < sizes[index] for unit in self.units):
            raise InputError(f"layer {self.layer} has {sizes[index]} units: not all of {self.units} exist")
        return row.split(sizes, dim=1)[index][:, self.units].double().cpu()


def _upright(
    reader: _Reader, images: Tensor, batch_size: int, count: int, upright: Transformation | None
) -> tuple[np.ndarray, Moments]:
    """Return the images with the highest activations of each unit, (U, K), and the moments over all images."""
    highest = np.empty((len(reader.units), 0))
    chosen = np.empty((len(reader.units), 0), dtype=np.int64)
    moments = Moments.empty(1, len(reader.units))
    for start in range(0, len(images), batch_size):
        found = reader(images[start : start + batch_size], upright)
        rows = torch.zeros(len(found), dtype=torch.int64)
        moments.update(found, Groups.of(rows, moments.count.flatten()))
        indices = np.broadcast_to(np.arange(start, start + len(found)), (len(reader.units), len(found)))
        values, owners = np.hstack([highest, found.numpy().T]), np.hstack([chosen, indices])
        # A stable sort keeps earlier images first.
        best = np.argsort(-values, axis=1, kind="stable")[:, :count]
        highest, chosen = np.take_along_axis(values, best, axis=1), np.take_along_axis(owners, best, axis=1)
    return chosen, moments


def _curves(
    reader: _Reader, images: Tensor, chosen: np.ndarray, transformations: Sequence[Transformation], batch_size: int
) -> np.ndarray:
    """Return the activations of the chosen images, (U, K), under each transformation, (U, K, T)."""
    distinct, places = np.unique(chosen, return_inverse=True)
    table = np.empty((len(distinct), len(reader.units), len(transformations)))
    for start in range(0, len(distinct), batch_size):
        part = slice(start, start + batch_size)
        batch = images[torch.as_tensor(distinct[part])]
        for step, transformation in enumerate(transformations):
            table[part, :, step] = reader(batch, transformation).numpy()
    return table[places.reshape(chosen.shape), np.arange(len(reader.units))[:, None]]
