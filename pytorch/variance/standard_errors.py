"""Standard errors of layer means, as a measurement keeps them."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

QUANTITIES = ("transformation", "sample", "normalized")
"""What has a layer mean with an error: TV, SV and NV."""


@dataclass(frozen=True)
class LayerErrors:
    """Errors of the mean of each of L layers, and then of G global means; C = L + G, float64.

    NaN where a group has fewer than two samples.

    Attributes:
        all: (3, C), standard errors of TV, SV and NV of all samples.
        classes: (K, 3, C), of each class.
        stratified: (C,), of the stratified NV.
        bias_all: (C,), by how much NV of all samples is too large on average, for having so few samples.
        bias_classes: (K, C), of each class.
        bias_stratified: (C,), of the stratified NV.
    """

    all: np.ndarray
    classes: np.ndarray
    stratified: np.ndarray
    bias_all: np.ndarray
    bias_classes: np.ndarray
    bias_stratified: np.ndarray

    def select(self, columns: list[int], classes: list[int]) -> "LayerErrors":
        """Keep some columns and some classes, in the given order."""
        parts = {field.name: getattr(self, field.name)[..., columns] for field in fields(self)}
        for name in ("classes", "bias_classes"):
            parts[name] = parts[name][classes]
        return LayerErrors(**parts)

    def check(self, classes: int, columns: int) -> None:
        """Check the shapes and types, and make the arrays read-only.

        Raises:
            ValueError: They do not fit; the message says which.
        """
        shapes = {
            "all": (3, columns), "classes": (classes, 3, columns), "stratified": (columns,),
            "bias_all": (columns,), "bias_classes": (classes, columns), "bias_stratified": (columns,),
        }  # fmt: skip
        for name, shape in shapes.items():
            object.__setattr__(self, name, read_only(name, getattr(self, name), shape, np.float64))

    def to_dict(self) -> dict[str, Any]:
        """Return numpy arrays by name."""
        return dict(vars(self))


def read_only(name: str, array: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return a read-only view of an array of the shape and type that are expected.

    Raises:
        ValueError: It has another.
    """
    array = np.asarray(array)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape} where the layers and classes give {shape}")
    if array.dtype != dtype:
        raise ValueError(f"{name} is of type {array.dtype}")
    frozen = np.ascontiguousarray(array).view().reshape(shape)
    frozen.flags.writeable = False
    return frozen
