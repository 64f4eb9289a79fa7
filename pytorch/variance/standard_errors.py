"""Standard errors of layer means, as stored in a result."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

QUANTITIES = ("transformation", "sample", "normalized")
"""Quantities whose layer means have standard errors: TV, SV and NV."""


@dataclass(frozen=True)
class LayerErrors:
    """Standard errors and biases of L layer means followed by G global means; C = L + G, float64.

    Values are NaN where a group has fewer than two samples.

    Attributes:
        all: Standard errors of TV, SV and NV over all samples, (3, C).
        classes: Standard errors of TV, SV and NV in each class, (K, 3, C).
        stratified: Standard errors of the stratified NV, (C,).
        bias_all: Amount by which a finite number of samples makes NV over all samples too large on average, (C,).
        bias_classes: The same for NV in each class, (K, C).
        bias_stratified: The same for the stratified NV, (C,).
    """

    all: np.ndarray
    classes: np.ndarray
    stratified: np.ndarray
    bias_all: np.ndarray
    bias_classes: np.ndarray
    bias_stratified: np.ndarray

    def select(self, columns: list[int], classes: list[int]) -> "LayerErrors":
        """Select columns and classes, in the given order."""
        parts = {field.name: getattr(self, field.name)[..., columns] for field in fields(self)}
        for name in ("classes", "bias_classes"):
            parts[name] = parts[name][classes]
        return LayerErrors(**parts)

    def check(self, classes: int, columns: int) -> None:
        """Check shapes and dtypes, and make the arrays read-only.

        Raises:
            ValueError: An array has another shape or dtype; the message names it.
        """
        shapes = {
            "all": (3, columns), "classes": (classes, 3, columns), "stratified": (columns,),
            "bias_all": (columns,), "bias_classes": (classes, columns), "bias_stratified": (columns,),
        }  # fmt: skip
        for name, shape in shapes.items():
            object.__setattr__(self, name, read_only(name, getattr(self, name), shape, np.float64))


def read_only(name: str, array: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return a read-only view of an array with the expected shape and dtype.

    Raises:
        ValueError: Its shape or dtype differs.
    """
    array = np.asarray(array)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but its layers and classes require {shape}")
    if array.dtype != dtype:
        raise ValueError(f"{name} is of type {array.dtype}")
    frozen = np.ascontiguousarray(array).view().reshape(shape)
    frozen.flags.writeable = False
    return frozen
