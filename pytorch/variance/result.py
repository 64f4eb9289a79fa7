"""What a measurement found, and all that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytorch.errors import InputError

ALL, STRATIFIED = "all", "stratified"


@dataclass(frozen=True, eq=False)
class VarianceResult:
    """Transformation variance and sample variance of every unit of a network, for all samples and for each class.

    The arrays are read-only, and so is what the methods return: no plot can change a result.

    Attributes:
        layer_names: In order of execution.
        layer_shapes: Shape of the units of each layer: (C,), or the activation's own without aggregation.
        classes: Names of the classes; empty for unlabelled samples.
        class_counts: (K,) int64, the number of samples of each class.
        samples: N.
        transformations: A description of each, in order.
        aggregation: How feature maps became units.
        dispersion: ``"std"`` or ``"variance"``.
        tv_all, sv_all: (U,) float64, over all samples.
        tv_classes, sv_classes: (K, U) float64, over the samples of each class.
    """

    layer_names: list[str]
    layer_shapes: list[tuple[int, ...]]
    classes: list[str]
    class_counts: np.ndarray
    samples: int
    transformations: list[str]
    aggregation: str
    dispersion: str
    tv_all: np.ndarray
    sv_all: np.ndarray
    tv_classes: np.ndarray
    sv_classes: np.ndarray

    def __post_init__(self) -> None:
        """Freeze the arrays and check that they belong together.

        Raises:
            ValueError: Shapes or types that do not fit, or class names that cannot be told apart.
        """
        units = sum(int(np.prod(shape)) for shape in self.layer_shapes)
        if len(self.layer_names) != len(self.layer_shapes) or len(set(self.layer_names)) < len(self.layer_names):
            raise ValueError("every layer needs one shape and a name of its own")
        check_class_names(self.classes)
        shapes = {
            "tv_all": (units,), "sv_all": (units,), "class_counts": (len(self.classes),),
            "tv_classes": (len(self.classes), units), "sv_classes": (len(self.classes), units),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = np.asarray(getattr(self, name))
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape} where the layers and classes give {shape}")
            if array.dtype != (np.int64 if name == "class_counts" else np.float64):
                raise ValueError(f"{name} is of type {array.dtype}")
            frozen = np.ascontiguousarray(array).view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    @property
    def groups(self) -> list[str]:
        """Every group that ``normalized_variance`` takes: all, stratified and each class; all alone if unlabelled."""
        return [ALL, STRATIFIED, *self.classes] if self.classes else [ALL]

    def transformation_variance(self, group: str = ALL) -> dict[str, np.ndarray]:
        """TV: the mean over samples x of the dispersion over transformations t of the activation a(x, t).

        Args:
            group: ``"all"`` or the name of a class.

        Returns:
            For each layer a float64 array of its shape.

        Raises:
            KeyError: The group does not exist.
        """
        return self._by_layer(self._select(group, self.tv_all, self.tv_classes))

    def sample_variance(self, group: str = ALL) -> dict[str, np.ndarray]:
        """SV: the mean over transformations t of the dispersion over samples x of a(x, t); arguments as for TV."""
        return self._by_layer(self._select(group, self.sv_all, self.sv_classes))

    def normalized_variance(self, group: str = ALL) -> dict[str, np.ndarray]:
        """NV = TV / SV; 1 where both are 0, inf where SV alone is 0, NaN where SV is undefined.

        Args:
            group: ``"all"``, the name of a class, or ``"stratified"``: the equal-weight mean over the classes
                that have at least two samples of their NV.

        Returns:
            For each layer a float64 array of its shape.

        Raises:
            KeyError: The group does not exist.
        """
        return self._by_layer(self._normalized(group))

    def layer_means(self, group: str = ALL) -> dict[str, float]:
        """Mean of NV over the finite units of each layer; NaN for a layer without any."""
        return {name: _finite_mean(values) for name, values in self.normalized_variance(group).items()}

    def global_mean(self, group: str = ALL) -> float:
        """Mean of NV over the finite units of all layers together: a layer weighs by its number of units."""
        return _finite_mean(self._normalized(group))

    def unit_counts(self, group: str = ALL) -> dict[str, int]:
        """Count the units, and those for which NV is no ordinary ratio.

        Returns:
            ``units``; ``constant``, TV = SV = 0 (for ``"stratified"``: in every class), whose NV is 1 by
            definition; ``infinite``, TV > 0 = SV; ``undefined``, NaN. Means leave the last two out.
        """
        values = self._normalized(group)
        return {
            "units": values.size,
            "constant": int(self._constant(group).sum()),
            "infinite": int(np.isinf(values).sum()),
            "undefined": int(np.isnan(values).sum()),
        }

    def sample_count(self, group: str = ALL) -> int:
        """Number of samples of a group; for ``"stratified"``, of the classes that it is the mean of.

        Raises:
            KeyError: The group does not exist.
        """
        counts = self.class_counts
        if group == STRATIFIED and self.classes:
            return int(counts[counts > 1].sum())
        return int(self._select(group, np.array(self.samples), counts))

    def constant_units(self, group: str = ALL) -> dict[str, np.ndarray]:
        """Where TV = SV = 0 (for ``"stratified"``: in every class), a boolean array for each layer."""
        return self._by_layer(self._constant(group))

    def _constant(self, group: str) -> np.ndarray:
        if group == STRATIFIED and self.classes:
            measurable = self.class_counts > 1
            constant = (self.tv_classes == 0) & (self.sv_classes == 0)
            return constant[measurable].all(axis=0) & measurable.any()
        return (self._select(group, self.tv_all, self.tv_classes) == 0) & (
            self._select(group, self.sv_all, self.sv_classes) == 0
        )

    def _normalized(self, group: str) -> np.ndarray:
        if group == STRATIFIED and self.classes:
            measurable = self.class_counts > 1
            if not measurable.any():
                return np.full_like(self.tv_all, np.nan)
            return _ratio(self.tv_classes[measurable], self.sv_classes[measurable]).mean(axis=0)
        return _ratio(
            self._select(group, self.tv_all, self.tv_classes), self._select(group, self.sv_all, self.sv_classes)
        )

    def _select(self, group: str, of_all: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
        if group == ALL:
            return of_all
        if group not in self.classes:
            groups = ", ".join(map(repr, [ALL, *self.classes]))
            raise KeyError(f"no group {group!r} here: there is {groups}, and of normalized variance 'stratified'")
        return of_classes[self.classes.index(group)]

    def _by_layer(self, units: np.ndarray) -> dict[str, np.ndarray]:
        units = units.view()
        units.flags.writeable = False
        ends = np.cumsum([int(np.prod(shape)) for shape in self.layer_shapes])
        parts = np.split(units, ends[:-1])
        return {
            name: part.reshape(shape)
            for name, shape, part in zip(self.layer_names, self.layer_shapes, parts, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers and numpy arrays."""
        return {**vars(self), "layer_shapes": [list(shape) for shape in self.layer_shapes]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "VarianceResult":
        """Rebuild what ``to_dict`` gave.

        Raises:
            TypeError, KeyError, ValueError: The content is not that of a result.
        """
        return cls(**{**content, "layer_shapes": [tuple(shape) for shape in content["layer_shapes"]]})


def check_class_names(classes: Sequence[str]) -> None:
    """Check that groups of samples can be told apart by name.

    Raises:
        InputError: Two classes have one name, or one is named ``all`` or ``stratified``.
    """
    if {ALL, STRATIFIED} & set(classes) or len(set(classes)) < len(classes):
        raise InputError("class names must differ from each other and from 'all' and 'stratified'")


def _ratio(tv: np.ndarray, sv: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = tv / sv
    return np.where((tv == 0) & (sv == 0), 1.0, ratio)


def _finite_mean(values: Sequence[float] | np.ndarray) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
