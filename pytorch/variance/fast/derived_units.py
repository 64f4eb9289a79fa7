"""Units that follow from those of the previous layer, so that its feature maps need not be read.

In evaluation mode a batch norm is y = s·x + b for each channel. Over the positions of a sample,
mean(y) = s·mean(x) + b, and max(y) = s·max(x) + b if s is positive and b finite. (With s = 0, an infinite x would
become NaN, which the maximum of x does not reveal.) ReLU is monotonic, so max(relu(x)) = relu(max(x)). Max pooling
keeps the maximum of its input if its windows cover every position. A convolution of 1 × 1 without stride, and a linear
layer on tokens, compute y = W x + b at each position, so mean(y) = W mean(x) + b.

At lower precision a batch norm rounds its output. Derived means are those before rounding. Maxima must be those of
rounded values, so they are read.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

from pytorch.variance.recording.places import Place

Derivation = Callable[[], None]
BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d

FEWEST_POSITIONS, FEWEST_VALUES = 64, 2**18
"""Positions and values of an output from which multiplying means by weights takes less time than reading it."""


class DerivedUnits:
    """While a model runs, remembers the previous activation and derives units of the current one from its units."""

    def __init__(self) -> None:
        self._before: tuple[weakref.ref[Tensor], int, Place] | None = None
        self._affine: dict[tuple[nn.Module, torch.dtype], Affine] = {}
        self._all_hooked = False

    def restart(self) -> None:
        """Begin another forward pass: forget the previous activation."""
        self._before = None
        self._all_hooked = bool(hooks_of_all._global_forward_pre_hooks or hooks_of_all._global_forward_hooks)

    def is_altered(self, module: nn.Module) -> bool:
        """Whether hooks, other than the recorder's own, or a replaced ``forward`` change what a module computes."""
        hooked = module._forward_pre_hooks or len(module._forward_hooks) > 1
        return bool(hooked or self._all_hooked or "forward" in vars(module))

    def remember(self, activation: Tensor, place: Place) -> None:
        """Remember an activation and the place of its units."""
        known = not activation.is_inference()
        self._before = (weakref.ref(activation), activation._version, place) if known else None

    def derivations(
        self, module: nn.Module | None, inputs: tuple, output: Tensor, place: Place
    ) -> dict[str, Derivation]:
        """Find the units of an activation that follow from those of the previous activation.

        Args:
            module: Module that computed the activation; None: an operation did.
            inputs: Positional arguments of the module.
            output: The activation, (B, C, ...).
            place: Place of its units.

        Returns:
            For each aggregation whose units follow, a function that writes them once those of the previous activation
            are written. Empty if the input is not the previous activation or was changed in place. Changes that bypass
            PyTorch's version counter (``.data``, NumPy) go unnoticed. Also empty on CUDA, where layers are read
            together (see ``chains``).
        """
        hows, rule = RULES.get(type(module), ((), None))
        wanted = [how for how in hows if how in place.units]
        if not wanted or not inputs or not output.is_cpu or self.is_altered(module):
            return {}
        before = self.place_of(inputs[0], module)
        if before is None or (before.kind, before.axes) != (place.kind, place.axes):
            return {}
        found = rule(self, module, output, before, place)
        return {how: found[how] for how in wanted if how in found and how in before.units}

    def affine(self, module: BatchNorm, kind: torch.dtype) -> "Affine | None":
        """Return the affine map that a batch norm computes with its current numbers.

        None if it uses statistics of the batch, or if changes to its numbers cannot be tracked.
        """
        if module.training or module.running_mean is None:
            return None
        numbers = module.running_mean, module.running_var, module.weight, module.bias
        if any(each is not None and each.is_inference() for each in numbers):
            return None
        versions = [each._version for each in numbers if each is not None]
        known = self._affine.get((module, kind))
        if known is None or not known.is_of(numbers, versions, module.eps):
            known = self._affine[module, kind] = Affine.of(numbers, versions, module.eps, kind)
        return known

    def place_of(self, inputs: Tensor, module: nn.Module) -> Place | None:
        """Return the place of the previous activation if that is the module's input."""
        if self._before is None:
            return None
        activation, version, place = self._before
        changes = 1 if getattr(module, "inplace", False) else 0  # the module's own
        return place if inputs is activation() and inputs._version == version + changes else None


@dataclass(frozen=True)
class Affine:
    """Affine map of each channel by a batch norm, and the numbers it follows from, which a model may change.

    Attributes:
        numbers: Mean, variance, weight and bias of the batch norm; None where missing.
        versions: Version counters of the numbers that are not None.
        eps: Constant added to the variance.
        scale, shift: Coefficients of the map, (C,).
    """

    numbers: tuple[Tensor | None, ...]
    versions: list[int]
    eps: float
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, numbers: tuple[Tensor | None, ...], versions: list[int], eps: float, kind: torch.dtype) -> "Affine":
        """Compute scale and shift in float64, and round them to the dtype of the units."""
        mean, variance, weight, bias = (None if each is None else each.detach().double() for each in numbers)
        scale = (variance + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return cls(numbers, versions, eps, scale.to(kind), shift.to(kind))

    @cached_property
    def rises(self) -> bool:
        """Whether every scale is positive, and all coefficients are finite."""
        return bool(((self.scale > 0) & self.scale.isfinite() & self.shift.isfinite()).all())

    def is_of(self, numbers: tuple[Tensor | None, ...], versions: list[int], eps: float) -> bool:
        """Whether the map follows from these numbers in their current versions."""
        same = all(one is other for one, other in zip(numbers, self.numbers, strict=True))
        return same and (versions, eps) == (self.versions, self.eps)


def _batch_norm(
    derived: DerivedUnits, module: BatchNorm, output: Tensor, before: Place, place: Place
) -> dict[str, Derivation]:
    affine = derived.affine(module, place.kind) if place.axes == (*range(2, output.ndim),) else None
    if affine is None:
        return {}
    hows = ("mean", "max") if affine.rises and output.dtype == place.kind else ("mean",)
    return {how: partial(_derive_affinely, how, affine, before, place) for how in hows}


def _derive_affinely(how: str, affine: Affine, before: Place, place: Place) -> None:
    units = before.units[how].to(place.kind)
    place.units[how].copy_(torch.addcmul(affine.shift, units, affine.scale))


def _relu(derived: DerivedUnits, module: nn.ReLU, output: Tensor, before: Place, place: Place) -> dict[str, Derivation]:
    return {"max": lambda: place.units["max"].copy_(F.relu(before.units["max"]))}


def _max_pooling(
    derived: DerivedUnits, module: nn.MaxPool2d, output: Tensor, before: Place, place: Place
) -> dict[str, Derivation]:
    if not _covers(module, before.shape, place.shape):
        return {}
    return {"max": lambda: place.units["max"].copy_(before.units["max"])}


def _pointwise(
    derived: DerivedUnits, module: nn.Conv2d | nn.Linear, output: Tensor, before: Place, place: Place
) -> dict[str, Derivation]:
    if place.positions < FEWEST_POSITIONS or output.numel() < FEWEST_VALUES:
        return {}
    weight = module.weight
    is_plain = type(weight) is nn.Parameter and weight.dtype == output.dtype == place.kind
    if not is_plain or place.axes != _same_positions(module, output):
        return {}
    return {"mean": partial(_derive_linearly, weight.flatten(1), module.bias, before, place)}


def _derive_linearly(weight: Tensor, bias: Tensor | None, before: Place, place: Place) -> None:
    with torch.autocast("cpu", enabled=False):  # which the layer itself may have switched off
        place.units["mean"].copy_(F.linear(before.units["mean"], weight, bias))


def _same_positions(module: nn.Conv2d | nn.Linear, output: Tensor) -> tuple[int, ...] | None:
    """Axes of the positions, if each follows from all channels of the same position of the input; None: it does not."""
    if isinstance(module, nn.Linear):
        return (*range(1, output.ndim - 1),)
    window = {*module.kernel_size, *module.stride, module.groups}
    return (2, 3) if window == {1} and module.padding in ((0, 0), "same", "valid") else None


def _covers(module: nn.MaxPool2d, inputs: torch.Size, output: torch.Size) -> bool:
    """Whether the windows of a pooling cover every position of its input."""

    def along(axis: int, value: int | Sequence[int]) -> int:
        return value if not isinstance(value, Sequence) else value[axis] if len(value) > 1 else value[0]

    def covered(axis: int) -> bool:
        kernel, stride, padding, dilation = (
            along(axis, value)
            for value in (module.kernel_size, module.stride or module.kernel_size, module.padding, module.dilation)
        )
        reached = (output[axis + 2] - 1) * stride + kernel - padding
        return dilation == 1 and stride <= kernel and reached >= inputs[axis + 2]

    return not module.return_indices and len(inputs) == 4 and covered(0) and covered(1)


Rule = Callable[[DerivedUnits, nn.Module, Tensor, Place, Place], dict[str, Derivation]]

RULES: dict[type[nn.Module], tuple[tuple[str, ...], Rule]] = {
    nn.BatchNorm2d: (("mean", "max"), _batch_norm),
    nn.BatchNorm3d: (("mean", "max"), _batch_norm),
    nn.Conv2d: (("mean",), _pointwise),
    nn.Linear: (("mean",), _pointwise),
    nn.ReLU: (("max",), _relu),
    nn.MaxPool2d: (("max",), _max_pooling),
}
"""For each module type, the aggregations whose units may follow, and the function that derives them. Subclasses may
compute anything, so they are read like other modules."""
