"""The result of a measurement, and the means, intervals and counts that follow from it."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar, Self

import numpy as np

from pytorch.checked_numbers import real_number
from pytorch.errors import InputError
from pytorch.files import container, safe_pickle
from pytorch.files.sealed_file import Format
from pytorch.variance.recording.layers import Layer
from pytorch.variance.result_file import RESULT_FORMAT, check_result
from pytorch.variance.result_html import result_html
from pytorch.variance.result_table import text_table
from pytorch.variance.standard_errors import QUANTITIES, LayerErrors, read_only
from pytorch.variance.statistics.anova import p_values

ALL, STRATIFIED = "all", "stratified"
GROUP_TITLES = {ALL: "all samples", STRATIFIED: "stratified"}
"""Groups over all classes, with their names in tables."""


@dataclass(frozen=True, eq=False)
class VarianceResult:
    """Transformation variance and sample variance of every unit of a network, for all samples and for each class.

    All arrays, including those that methods return, are read-only: no plot can change a result.

    Attributes:
        form: Format of its files.
        layer_names: Layer names in order of execution.
        layer_shapes: Shape of the units of each layer: (C,), or the shape of the activation without aggregation.
        classes: Class names; empty for unlabelled samples.
        class_counts: (K,) int64, the number of samples of each class.
        samples: Number of samples measured, N.
        samples_offered: Number of samples available, of which a tolerance may have used a part; None: unknown.
        transformations: Descriptions of the transformations, in order.
        aggregation: How feature maps became units: ``"mean"``, ``"max"``, ``"sum"`` or ``"none"``.
        dispersion: ``"std"`` or ``"variance"``.
        precision: Precision of the forward passes, ``"fp32"`` or ``"bf16"``.
        tolerance: Half-width of the layer means at which the run stopped, or None.
        shuffled: Whether samples were permuted across transformations, as a control.
        never_called: Names of the modules that were selected but never called.
        tv_all, sv_all: (U,) float64, TV and SV over all samples.
        tv_classes, sv_classes: (K, U) float64, TV and SV over the samples of each class.
        errors: Standard errors of the layer means and, in the last column, of the global mean.
        not_measured: Reason why a called module, or a tensor in its output, is not a layer, by name.
        layer_axes: Axes of each activation (B, ...) that hold units.
        layer_axes_known: ``"known"``, ``"assumed"`` or ``"given"`` for each layer.
        rounding: (U,) float64, the largest dispersion that rounding can cause; None: unknown.
        f_all: (U,) float64, F of the means over all samples under each transformation; None: unknown.
    """

    form: ClassVar[Format] = RESULT_FORMAT

    layer_names: list[str]
    layer_shapes: list[tuple[int, ...]]
    classes: list[str]
    class_counts: np.ndarray
    samples: int
    samples_offered: int | None
    transformations: list[str]
    aggregation: str
    dispersion: str
    precision: str
    tolerance: float | None
    shuffled: bool
    never_called: list[str]
    tv_all: np.ndarray
    sv_all: np.ndarray
    tv_classes: np.ndarray
    sv_classes: np.ndarray
    errors: LayerErrors
    not_measured: dict[str, str]
    layer_axes: list[list[int]]
    layer_axes_known: list[str]
    rounding: np.ndarray | None = None
    f_all: np.ndarray | None = None

    def __repr__(self) -> str:
        layers, units = len(self.layer_names), self.tv_all.size
        return (
            f"VarianceResult({layers} layers, {units} units, {self.aggregation}, {len(self.transformations)} "
            f"transformations, {self.samples} samples of {len(self.classes)} classes, "
            f"global mean {self.global_mean():.3f})"
        )

    def __str__(self) -> str:
        """Return a table of the layers."""
        return text_table(self)

    def _repr_html_(self) -> str:
        """Return a small heatmap, and the most and the least invariant layers, for notebooks."""
        return result_html(self)

    def __post_init__(self) -> None:
        """Freeze the arrays and check that they are consistent.

        Raises:
            ValueError: Shapes or types do not match, or class names are not unique.
        """
        # For a layer without units, the work must not grow with the other axes of its shape.
        if any(min(shape, default=1) < 0 or (0 in shape and max(shape) > 1) for shape in self.layer_shapes):
            raise ValueError("no layer has units of such a shape")
        units = sum(map(math.prod, self.layer_shapes))
        if len(self.layer_names) != len(self.layer_shapes) or len(set(self.layer_names)) < len(self.layer_names):
            raise ValueError("every layer needs one shape and a name of its own")
        check_class_names(self.classes)
        shapes = {
            "tv_all": (units,), "sv_all": (units,), "class_counts": (len(self.classes),),
            "tv_classes": (len(self.classes), units), "sv_classes": (len(self.classes), units),
        }  # fmt: skip
        shapes |= {name: (units,) for name in ("rounding", "f_all") if getattr(self, name) is not None}
        for name, shape in shapes.items():
            dtype = np.int64 if name == "class_counts" else np.float64
            object.__setattr__(self, name, read_only(name, getattr(self, name), shape, dtype))
        self.errors.check(len(self.classes), len(self.layer_names) + 1)
        if {len(self.layer_axes), len(self.layer_axes_known)} != {len(self.layer_names)}:
            raise ValueError("every layer needs axes")

    @property
    def layers(self) -> list[Layer]:
        """Name, shape and channel axes of each layer, and whether the axes are known, assumed or given."""
        parts = zip(self.layer_names, self.layer_shapes, self.layer_axes, self.layer_axes_known, strict=True)
        return [Layer(name, self.aggregation, shape, tuple(axes), known) for name, shape, axes, known in parts]

    @property
    def units_title(self) -> str:
        """What the units are, for titles."""
        return f"aggregation {self.aggregation}"

    @property
    def groups(self) -> list[str]:
        """Groups that ``normalized_variance`` accepts: all, stratified and each class; only all if unlabelled."""
        return [ALL, STRATIFIED, *self.classes] if self.classes else [ALL]

    @property
    def summary_groups(self) -> list[str]:
        """Groups over all classes that have a value: all and, where a class has two samples, stratified."""
        return [ALL, STRATIFIED] if (self.class_counts > 1).any() else [ALL]

    def transformation_variance(self, group: str = ALL) -> dict[str, np.ndarray]:
        """TV: the mean over samples x of the dispersion over transformations t of the activation a(x, t).

        Args:
            group: ``"all"`` or the name of a class.

        Returns:
            A float64 array for each layer, of the layer's shape.

        Raises:
            KeyError: The group does not exist.
        """
        return self._by_layer(self._select(group, self.tv_all, self.tv_classes))

    def sample_variance(self, group: str = ALL) -> dict[str, np.ndarray]:
        """SV: the mean over transformations t of the dispersion over samples x of a(x, t).

        Arguments, return value and errors are those of ``transformation_variance``.
        """
        return self._by_layer(self._select(group, self.sv_all, self.sv_classes))

    def normalized_variance(self, group: str = ALL) -> dict[str, np.ndarray]:
        """NV = TV / SV; 1 where both are 0, inf where SV alone is 0, NaN where SV is undefined.

        Args:
            group: ``"all"``, the name of a class, or ``"stratified"``: the equal-weight mean of the NV of all classes
                with at least two samples.

        Returns:
            A float64 array for each layer, of the layer's shape.

        Raises:
            KeyError: The group does not exist.
        """
        return self._by_layer(self._normalized(group))

    def layer_means(self, group: str = ALL, quantity: str = "normalized", *, varying: bool = False) -> dict[str, float]:
        """Mean over the finite units of each layer; NaN for a layer without finite units.

        Args:
            group: ``"all"``, the name of a class or, for NV, ``"stratified"``.
            quantity: ``"normalized"`` (NV), ``"transformation"`` (TV) or ``"sample"`` (SV).
            varying: Whether to leave out units that are constant or vary only by rounding.

        Raises:
            KeyError: The group or the quantity does not exist.
        """
        units = self._by_layer(self._chosen(group, quantity, varying))
        return {name: _finite_mean(values) for name, values in units.items()}

    def global_mean(self, group: str = ALL, quantity: str = "normalized", *, varying: bool = False) -> float:
        """Mean over the finite units of all layers: larger layers weigh more."""
        return _finite_mean(self._chosen(group, quantity, varying))

    def layer_errors(
        self, group: str = ALL, quantity: str = "normalized", *, varying: bool = False
    ) -> dict[str, float]:
        """Standard error of each layer mean over samples; arguments as for ``layer_means``.

        NaN where a group has fewer than two samples, or a layer no finite unit. The error ignores units that have been
        constant: they have no spread to estimate it from. With ``varying``, it is the error of fewer units; that of
        units that vary only by rounding remains part of it.
        """
        return dict(zip(self.layer_names, self._errors(group, quantity, varying)[0].tolist(), strict=False))

    def global_error(self, group: str = ALL, quantity: str = "normalized", *, varying: bool = False) -> float:
        """Standard error of the global mean, over samples."""
        return self._errors(group, quantity, varying)[0].tolist()[-1]

    def layer_intervals(
        self, group: str = ALL, quantity: str = "normalized", confidence: float = 0.95, *, varying: bool = False
    ) -> dict[str, tuple[float, float]]:
        """Confidence interval of each layer mean over samples; arguments as for ``layer_means``.

        The normal approximation (mean - bias) ± z SE, for the limit of infinitely many samples. NV of few samples is
        slightly too large; this bias is estimated together with SE, and shifts the interval away from the mean.

        Raises:
            InputError: ``confidence`` is not between 0 and 1.
            KeyError: The group or the quantity does not exist.
        """
        means = [*self.layer_means(group, quantity, varying=varying).values()]
        return dict(zip(self.layer_names, self._intervals(means, group, quantity, confidence, varying), strict=False))

    def global_interval(
        self, group: str = ALL, quantity: str = "normalized", confidence: float = 0.95, *, varying: bool = False
    ) -> tuple[float, float]:
        """Confidence interval of the global mean; see ``layer_intervals``."""
        means = [np.nan] * len(self.layer_names) + [self.global_mean(group, quantity, varying=varying)]
        return self._intervals(means, group, quantity, confidence, varying)[-1]

    def f_statistics(self) -> dict[str, np.ndarray]:
        """F of the hypothesis that the mean of a unit over all samples is the same under every transformation.

        F = N Σ_t (m_t - m̄)² / (T - 1)  /  (Σ_t Σ_x (a(x, t) - m_t)² / (T (N - 1))), where m_t is the mean over samples.

        Returns:
            A float64 array for each layer; NaN for constant units, and where F is unknown.
        """
        return self._by_layer(np.full_like(self.tv_all, np.nan) if self.f_all is None else self.f_all)

    def f_p_values(self) -> dict[str, np.ndarray]:
        """p-value of each F, for T - 1 and T (N - 1) degrees of freedom.

        The samples are the same under every transformation, which F of independent samples ignores: where they matter
        more than the transformation, the true p-value is smaller.
        """
        steps = len(self.transformations)
        return {name: p_values(of_layer, steps, self.samples) for name, of_layer in self.f_statistics().items()}

    @property
    def left_out(self) -> dict[str, str]:
        """What of ``not_measured`` is no copy of other layers, with the reason."""
        return {name: reason for name, reason in self.not_measured.items() if not reason.startswith("a copy")}

    def unit_counts(self, group: str = ALL) -> dict[str, int]:
        """Count the units, and those for which NV is no ordinary ratio.

        Returns:
            ``units``: all of them. ``constant``: TV = SV = 0 (for ``"stratified"``: in every class); NV is 1 by
            definition. ``rounding``: TV and SV both lie within rounding, so NV means nothing. ``invariant``: only TV
            lies within rounding. ``infinite``: TV > 0 = SV. ``undefined``: NaN. Means leave out the last two kinds.
        """
        values = self._normalized(group)
        return {
            "units": values.size,
            "constant": int(self._constant(group).sum()),
            "rounding": int(self._within_rounding(group).sum()),
            "invariant": int(self._within_rounding(group, sample=False).sum()),
            "infinite": int(np.isinf(values).sum()),
            "undefined": int(np.isnan(values).sum()),
        }

    def non_finite_units(self) -> dict[str, int]:
        """Number of units with NaN or infinite activations, for each layer that has any."""
        if self.samples < 2:
            return {}
        odd = self._by_layer(~(np.isfinite(self.tv_all) & np.isfinite(self.sv_all)))
        return {name: int(units.sum()) for name, units in odd.items() if units.any()}

    def sample_count(self, group: str = ALL) -> int:
        """Number of samples of a group; for ``"stratified"``, of all classes with at least two samples.

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

    def rounding_units(self, group: str = ALL) -> dict[str, np.ndarray]:
        """Where TV and SV both lie within rounding and are not both 0, a boolean array for each layer.

        For ``"stratified"``: where that holds in every class.
        """
        return self._by_layer(self._within_rounding(group))

    def invariant_units(self, group: str = ALL) -> dict[str, np.ndarray]:
        """Where TV lies within rounding and SV does not, a boolean array for each layer."""
        return self._by_layer(self._within_rounding(group, sample=False))

    def _constant(self, group: str) -> np.ndarray:
        return self._where(group, lambda tv, sv: (tv == 0) & (sv == 0))

    def _within_rounding(self, group: str, *, sample: bool = True) -> np.ndarray:
        if self.rounding is None:
            return np.zeros(self.tv_all.shape, dtype=bool)
        below = self._where(group, lambda tv, sv: (tv <= self.rounding) & ((sv <= self.rounding) == sample))
        return below & ~self._constant(group)

    def _where(self, group: str, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Where a condition holds for TV and SV of a group; for ``"stratified"``, where it holds in every class."""
        if group == STRATIFIED and self.classes:
            measurable = self.class_counts > 1
            return of(self.tv_classes, self.sv_classes)[measurable].all(axis=0) & measurable.any()
        return of(self._select(group, self.tv_all, self.tv_classes), self._select(group, self.sv_all, self.sv_classes))

    def _chosen(self, group: str, quantity: str, varying: bool) -> np.ndarray:
        units = self._units(group, quantity)
        return np.where(self._constant(group) | self._within_rounding(group), np.nan, units) if varying else units

    def _normalized(self, group: str) -> np.ndarray:
        if group == STRATIFIED and self.classes:
            measurable = self.class_counts > 1
            if not measurable.any():
                return np.full_like(self.tv_all, np.nan)
            return _ratio(self.tv_classes[measurable], self.sv_classes[measurable]).mean(axis=0)
        return _ratio(
            self._select(group, self.tv_all, self.tv_classes), self._select(group, self.sv_all, self.sv_classes)
        )

    def _units(self, group: str, quantity: str) -> np.ndarray:
        _check_quantity(group, quantity)
        if quantity == "normalized":
            return self._normalized(group)
        kind = "tv" if quantity == "transformation" else "sv"
        return self._select(group, getattr(self, f"{kind}_all"), getattr(self, f"{kind}_classes"))

    def _errors(self, group: str, quantity: str, varying: bool) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors and biases of the layer means and of the global mean."""
        _check_quantity(group, quantity)
        errors = self.errors
        if group == STRATIFIED and self.classes:
            found, bias = errors.stratified, errors.bias_stratified
        else:
            found = self._select(group, errors.all, errors.classes)[QUANTITIES.index(quantity)]
            bias = self._select(group, errors.bias_all, errors.bias_classes)
        if quantity != "normalized":
            bias = np.zeros_like(bias)
        # Constant units have no error, so without them the sum over units stays the same.
        every, left = (self._finite_counts(self._chosen(group, quantity, some)) for some in (False, varying))
        scale = every / np.where(left > 0, left, np.nan)
        return found * scale, bias * scale

    def _finite_counts(self, units: np.ndarray) -> np.ndarray:
        """Number of finite units of each layer, and of all."""
        counts = [np.isfinite(part).sum() for part in self._by_layer(units).values()]
        return np.array([*counts, sum(counts)])

    def _intervals(
        self, means: list[float], group: str, quantity: str, confidence: float, varying: bool
    ) -> list[tuple[float, float]]:
        real_number("confidence", confidence, lambda part: 0 < part < 1, "between 0 and 1, as 0.95")
        errors, biases = self._errors(group, quantity, varying)
        width = NormalDist().inv_cdf((1 + confidence) / 2)
        centres = np.asarray(means) - biases[: len(means)]
        return [(float(c - width * e), float(c + width * e)) for c, e in zip(centres, errors, strict=False)]

    def _select(self, group: str, of_all: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
        if group == ALL:
            return of_all
        if not self.classes:
            raise KeyError(f"no group {group!r}: the samples have no labels, so the only group is 'all'")
        if group not in self.classes:
            groups = ", ".join(map(repr, [ALL, *self.classes]))
            raise KeyError(f"no group {group!r}: choose from {groups}, or 'stratified' for normalized variance")
        return of_classes[self.classes.index(group)]

    def _by_layer(self, units: np.ndarray) -> dict[str, np.ndarray]:
        units = units.view()
        units.flags.writeable = False
        ends = np.cumsum([math.prod(shape) for shape in self.layer_shapes])
        parts = np.split(units, ends[:-1])
        return {
            name: part.reshape(shape)
            for name, shape, part in zip(self.layer_names, self.layer_shapes, parts, strict=True)
        }

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each group and unit.

        Columns: ``layer``, ``unit`` (index in the flattened layer), ``group``, ``tv``, ``sv``, ``nv`` (float64; TV and
        SV are NaN for ``"stratified"``), ``constant``, ``rounding`` and ``invariant`` (bool; see ``unit_counts``).

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd  # optional

        sizes = [math.prod(shape) for shape in self.layer_shapes]
        codes = np.repeat(np.arange(len(sizes)), sizes)
        layers = pd.Categorical.from_codes(codes, self.layer_names)
        unit = np.concatenate([np.arange(size) for size in sizes])
        frames = []
        for group in self.groups:
            parts = {
                "layer": layers, "unit": unit, "group": group, "tv": np.nan, "sv": np.nan,
                "nv": self._normalized(group), "constant": self._constant(group),
                "rounding": self._within_rounding(group), "invariant": self._within_rounding(group, sample=False),
            }  # fmt: skip
            if group != STRATIFIED:
                parts["tv"] = self._select(group, self.tv_all, self.tv_classes)
                parts["sv"] = self._select(group, self.sv_all, self.sv_classes)
            frames.append(pd.DataFrame(parts))
        return pd.concat(frames, ignore_index=True)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file, whole or not at all.

        Raises:
            FileError: The file cannot be written.
            ValueError: ``load`` would refuse the result, such as one with a layer name of 301 letters.
        """
        container.save(Path(path), self.form, check_result(self).to_dict(), safe_pickle.dumps)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a result from a file; nothing in it is executed.

        Raises:
            FileError: ``save`` did not write the file, or it is damaged or of another version.
            FileNotFoundError: There is no file.
        """
        return container.load(Path(path), cls.form, "a result", safe_pickle.loads, cls.from_dict, check_result)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers and numpy arrays."""
        shapes = [list(shape) for shape in self.layer_shapes]
        return {**vars(self), "layer_shapes": shapes, "errors": {**vars(self.errors)}}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Rebuild a result from the output of ``to_dict``.

        Raises:
            TypeError, KeyError, ValueError: The content does not describe a result.
        """
        shapes = [tuple(shape) for shape in content["layer_shapes"]]
        return cls(**{**content, "layer_shapes": shapes, "errors": LayerErrors(**content["errors"])})


def check_class_names(classes: Sequence[str]) -> None:
    """Check that the names of groups are unique.

    Raises:
        InputError: Two classes share a name, or a class is named ``all`` or ``stratified``.
    """
    for name, count in Counter([ALL, STRATIFIED, *classes]).items():
        if count > 1:
            raise InputError(f"rename class {name!r}: names must be unique, and 'all' and 'stratified' are taken")


def _check_quantity(group: str, quantity: str) -> None:
    if quantity not in QUANTITIES:
        raise KeyError(f"no quantity {quantity!r}: choose from {', '.join(map(repr, QUANTITIES))}")
    if group == STRATIFIED and quantity != "normalized":
        raise KeyError("only normalized variance has the group 'stratified'")


def _ratio(tv: np.ndarray, sv: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = tv / sv
    return np.where((tv == 0) & (sv == 0), 1.0, ratio)


def _finite_mean(values: Sequence[float] | np.ndarray) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
