"""What a measurement found, and all that follows from it."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from pytorch.errors import InputError
from pytorch.variance.recording.layers import Layer
from pytorch.variance.standard_errors import QUANTITIES, LayerErrors, read_only

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
        samples_offered: How many there were, of which a run with a tolerance may have used a part; None: unknown.
        transformations: A description of each, in order.
        aggregation: How feature maps became units.
        dispersion: ``"std"`` or ``"variance"``.
        precision: ``"fp32"`` or ``"bf16"``, of the forward passes.
        tolerance: The half-width of layer means to stop at, or None.
        shuffled: Whether samples were permuted across transformations, a control.
        never_called: Modules that were to be recorded but that the network never called.
        tv_all, sv_all: (U,) float64, over all samples.
        tv_classes, sv_classes: (K, U) float64, over the samples of each class.
        errors: Of the layer means and, in the last column, of the global mean.
        not_measured: Why a module that was called, or a tensor of its output, is no layer; by its name.
        layer_axes: The axes of each activation (B, ...) that are kept; empty in results of earlier versions.
        layer_axes_known: ``"known"``, ``"assumed"`` or ``"given"``, for each layer; empty likewise.
        rounding: (U,) float64, the largest dispersion that rounding may make; None: unknown, as in earlier versions.
    """

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
    not_measured: dict[str, str] = field(default_factory=dict)
    layer_axes: list[list[int]] = field(default_factory=list)
    layer_axes_known: list[str] = field(default_factory=list)
    rounding: np.ndarray | None = None

    def __repr__(self) -> str:
        layers, units = len(self.layer_names), self.tv_all.size
        return (
            f"VarianceResult({layers} layers, {units} units, {self.aggregation}, {len(self.transformations)} "
            f"transformations, {self.samples} samples of {len(self.classes)} classes, "
            f"global mean {self.global_mean():.3f})"
        )

    def __post_init__(self) -> None:
        """Freeze the arrays and check that they belong together.

        Raises:
            ValueError: Shapes or types that do not fit, or class names that cannot be told apart.
        """
        # Whatever is computed of a layer without units must not grow with the other axes of its shape.
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
        if self.rounding is not None:
            shapes["rounding"] = (units,)
        for name, shape in shapes.items():
            dtype = np.int64 if name == "class_counts" else np.float64
            object.__setattr__(self, name, read_only(name, getattr(self, name), shape, dtype))
        self.errors.check(len(self.classes), len(self.layer_names) + 1)
        if {len(self.layer_axes), len(self.layer_axes_known)} - {0, len(self.layer_names)}:
            raise ValueError("every layer needs axes, or none has them")

    @property
    def layers(self) -> list[Layer]:
        """Name, shape and channel axes of each layer, and whether these are known, assumed or given."""
        axes = self.layer_axes or [[] for _ in self.layer_names]
        known = self.layer_axes_known or ["unknown" for _ in self.layer_names]
        return [
            Layer(name, self.aggregation, shape, tuple(channels), certainty)
            for name, shape, channels, certainty in zip(self.layer_names, self.layer_shapes, axes, known, strict=True)
        ]

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

    def layer_means(self, group: str = ALL, quantity: str = "normalized", *, varying: bool = False) -> dict[str, float]:
        """Mean over the finite units of each layer; NaN for a layer without any.

        Args:
            group: ``"all"``, the name of a class, or of NV ``"stratified"``.
            quantity: ``"normalized"``, ``"transformation"`` or ``"sample"``: of NV, TV or SV.
            varying: Whether to leave out units that are constant, or vary by rounding alone.

        Raises:
            KeyError: The group or the quantity does not exist.
        """
        units = self._by_layer(self._chosen(group, quantity, varying))
        return {name: _finite_mean(values) for name, values in units.items()}

    def global_mean(self, group: str = ALL, quantity: str = "normalized", *, varying: bool = False) -> float:
        """Mean over the finite units of all layers together: a layer weighs by its number of units."""
        return _finite_mean(self._chosen(group, quantity, varying))

    def layer_errors(self, group: str = ALL, quantity: str = "normalized") -> dict[str, float]:
        """Standard error of each layer mean, over samples; arguments as ``layer_means``.

        NaN where a group has fewer than two samples. It says nothing of units that were constant, which have no
        spread to tell by.
        """
        return dict(zip(self.layer_names, self._errors(group, quantity)[0].tolist(), strict=False))

    def global_error(self, group: str = ALL, quantity: str = "normalized") -> float:
        """Standard error of the global mean, over samples."""
        return self._errors(group, quantity)[0].tolist()[-1]

    def layer_intervals(
        self, group: str = ALL, quantity: str = "normalized", confidence: float = 0.95
    ) -> dict[str, tuple[float, float]]:
        """Confidence interval of each layer mean, over samples; arguments as ``layer_means``.

        The normal approximation, (mean - bias) ± z SE, for the value that ever more samples would lead to. Of few
        samples NV is a little too large; its bias, by which the interval is off the mean, is estimated along with SE.
        """
        means = [*self.layer_means(group, quantity).values()]
        return dict(zip(self.layer_names, self._intervals(means, group, quantity, confidence), strict=False))

    def global_interval(
        self, group: str = ALL, quantity: str = "normalized", confidence: float = 0.95
    ) -> tuple[float, float]:
        """Confidence interval of the global mean; see ``layer_intervals``."""
        means = [np.nan] * len(self.layer_names) + [self.global_mean(group, quantity)]
        return self._intervals(means, group, quantity, confidence)[-1]

    def unit_counts(self, group: str = ALL) -> dict[str, int]:
        """Count the units, and those for which NV is no ordinary ratio.

        Returns:
            ``units``; ``constant``, TV = SV = 0 (for ``"stratified"``: in every class), whose NV is 1 by
            definition; ``rounding``, others whose TV and SV are both of rounding alone, so that their NV says nothing;
            ``invariant``, those whose TV alone is; ``infinite``, TV > 0 = SV; ``undefined``, NaN. Means leave the last
            two out.
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
        """Count the units of each layer with activations that are NaN or infinite; only layers that have any."""
        if self.samples < 2:
            return {}
        odd = self._by_layer(~(np.isfinite(self.tv_all) & np.isfinite(self.sv_all)))
        return {name: int(units.sum()) for name, units in odd.items() if units.any()}

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

    def rounding_units(self, group: str = ALL) -> dict[str, np.ndarray]:
        """Where TV and SV are both of rounding alone and not both 0 (for ``"stratified"``: in every class), boolean."""
        return self._by_layer(self._within_rounding(group))

    def invariant_units(self, group: str = ALL) -> dict[str, np.ndarray]:
        """Where TV is of rounding alone and SV is not, a boolean array for each layer."""
        return self._by_layer(self._within_rounding(group, sample=False))

    def _constant(self, group: str) -> np.ndarray:
        return self._where(group, lambda tv, sv: (tv == 0) & (sv == 0))

    def _within_rounding(self, group: str, *, sample: bool = True) -> np.ndarray:
        if self.rounding is None:
            return np.zeros(self.tv_all.shape, dtype=bool)
        below = self._where(group, lambda tv, sv: (tv <= self.rounding) & ((sv <= self.rounding) == sample))
        return below & ~self._constant(group)

    def _where(self, group: str, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Where something holds for TV and SV of a group; of ``"stratified"`` where it does in every class."""
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

    def _errors(self, group: str, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors and biases of the layer means and of the global mean."""
        _check_quantity(group, quantity)
        errors = self.errors
        if group == STRATIFIED and self.classes:
            return errors.stratified, errors.bias_stratified
        found = self._select(group, errors.all, errors.classes)[QUANTITIES.index(quantity)]
        bias = self._select(group, errors.bias_all, errors.bias_classes)
        return found, bias if quantity == "normalized" else np.zeros_like(bias)

    def _intervals(self, means: list[float], group: str, quantity: str, confidence: float) -> list[tuple[float, float]]:
        errors, biases = self._errors(group, quantity)
        width = NormalDist().inv_cdf((1 + confidence) / 2)
        centres = np.asarray(means) - biases[: len(means)]
        return [(float(c - width * e), float(c + width * e)) for c, e in zip(centres, errors, strict=False)]

    def _select(self, group: str, of_all: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
        if group == ALL:
            return of_all
        if not self.classes:
            raise KeyError(f"no group {group!r} here: the samples have no labels, there is 'all' alone")
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
        shapes = [list(shape) for shape in self.layer_shapes]
        return {**vars(self), "layer_shapes": shapes, "errors": self.errors.to_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "VarianceResult":
        """Rebuild what ``to_dict`` gave.

        Raises:
            TypeError, KeyError, ValueError: The content is not that of a result.
        """
        shapes = [tuple(shape) for shape in content["layer_shapes"]]
        return cls(**{**content, "layer_shapes": shapes, "errors": LayerErrors(**content["errors"])})


def check_class_names(classes: Sequence[str]) -> None:
    """Check that groups of samples can be told apart by name.

    Raises:
        InputError: Two classes have one name, or one is named ``all`` or ``stratified``.
    """
    for name, count in Counter([ALL, STRATIFIED, *classes]).items():
        if count > 1:
            raise InputError(
                f"a class must not be called {name!r}, as another one or all together ('all', 'stratified') are"
            )


def _check_quantity(group: str, quantity: str) -> None:
    if quantity not in QUANTITIES:
        raise KeyError(f"no quantity {quantity!r}: there is {', '.join(map(repr, QUANTITIES))}")
    if group == STRATIFIED and quantity != "normalized":
        raise KeyError("only the normalized variance is stratified")


def _ratio(tv: np.ndarray, sv: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = tv / sv
    return np.where((tv == 0) & (sv == 0), 1.0, ratio)


def _finite_mean(values: Sequence[float] | np.ndarray) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
