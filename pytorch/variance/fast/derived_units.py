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
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

from pytorch.variance.recording.places import Place

Derivation = Callable[[], None]
Derivations = dict[str | None, Derivation]
BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d

FEWEST_POSITIONS, FEWEST_VALUES = 64, 2**18
"""Positions and values of an output from which multiplying means by weights takes less time than reading it."""


class Plan(NamedTuple):
    """What follows for a layer in each pass, as long as it holds.

    Attributes:
        found: For each aggregation whose units follow, a function that writes them.
        holds: Whether the module still has the numbers and settings that they follow from.
        before: Place of the previous activation; None: not known yet.
        kind: Type of the output.
    """

    found: Derivations
    holds: Callable[[], bool]
    before: Place | None = None
    kind: torch.dtype | None = None


def _always() -> bool:
    return True


class DerivedUnits:
    """While a model runs, remembers the previous activation and derives units of the current one from its units."""

    def __init__(self) -> None:
        self._before: tuple[weakref.ref[Tensor], int, Place] | None = None
        self._affine: dict[tuple[nn.Module, torch.dtype], Affine] = {}
        self._all_hooked = False
        self._plans: dict[Place, Plan | None] = {}

    def forget(self) -> None:
        """Forget what follows from what; the units have other memory, for batches of another size."""
        self._plans.clear()

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

    def derivations(self, module: nn.Module | None, inputs: tuple, output: Tensor, place: Place) -> Derivations:
        """Find the units of an activation that follow from those of the previous activation.

        Args:
            module: Module that computed the activation; None: an operation did.
            inputs: Positional arguments of the module.
            output: The activation, (B, C, ...).
            place: Place of its units.

        Returns:
            For each aggregation whose units follow, a function that writes them once those of the previous activation
            are written. Empty if the input is not the previous activation or was changed in place. Changes of values
            that bypass PyTorch's version counter (by NumPy, or in place by ``.data``) go unnoticed. Also empty on CUDA,
            where layers are read together (see ``chains``).
        """
        plan = self._plans.get(place, UNPLANNED)
        if plan is UNPLANNED:
            hows, _ = RULES.get(type(module), ((), None))
            if not output.is_cpu or place.units.keys().isdisjoint(hows):
                plan = self._plans[place] = None
        if plan is None or not inputs or self.is_altered(module):
            return {}
        before = self.place_of(inputs[0], module)
        if before is None:
            return {}
        if plan.before is not before or plan.kind is not output.dtype or not plan.holds():
            plan = self._plans[place] = self._planned(module, output, before, place)
        return {} if plan is None else plan.found

    def _planned(self, module: nn.Module, output: Tensor, before: Place, place: Place) -> Plan | None:
        """Find what follows from the previous activation; None: nothing, which then is not asked again."""
        if (before.kind, before.axes) != (place.kind, place.axes):
            return None
        hows, rule = RULES.get(type(module), ((), None))  # a parametrization changes the type
        plan = rule(self, module, output, before, place) if rule else None
        if plan is None:
            return None
        found = {
            how: plan.found[how] for how in hows if how in plan.found and how in place.units and how in before.units
        }
        return plan._replace(found=found, before=before, kind=output.dtype)

    def affine(self, module: BatchNorm, kind: torch.dtype) -> "Affine | None":
        """Return the affine map that a batch norm computes with its current numbers.

        None if it uses statistics of the batch, or if changes to its numbers cannot be tracked.
        """
        numbers = module.running_mean, module.running_var, module.weight, module.bias
        if module.training or numbers[0] is None:
            return None
        known = self._affine.get((module, kind))
        if known is None or not known.is_of(numbers, module.eps):
            if any(each is not None and each.is_inference() for each in numbers):
                return None
            known = self._affine[module, kind] = Affine.of(numbers, module.eps, kind)
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
        versions: Version counters of the numbers; None where missing.
        eps: Constant added to the variance.
        scale, shift: Coefficients of the map, (C,).
    """

    numbers: tuple[Tensor | None, ...]
    versions: list[int | None]
    eps: float
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, numbers: tuple[Tensor | None, ...], eps: float, kind: torch.dtype) -> "Affine":
        """Compute scale and shift in float64, and round them to the dtype of the units."""
        mean, variance, weight, bias = (None if each is None else each.detach().double() for each in numbers)
        scale = (variance + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        versions = [None if each is None else each._version for each in numbers]
        return cls(numbers, versions, eps, scale.to(kind), shift.to(kind))

    @cached_property
    def rises(self) -> bool:
        """Whether every scale is positive, and all coefficients are finite."""
        return bool(((self.scale > 0) & self.scale.isfinite() & self.shift.isfinite()).all())

    def is_of(self, numbers: tuple[Tensor | None, ...], eps: float) -> bool:
        """Whether the map follows from these numbers in their current versions."""
        return eps == self.eps and all(
            one is other and (one is None or one._version == version)
            for one, other, version in zip(numbers, self.numbers, self.versions, strict=True)
        )


def _batch_norm(derived: DerivedUnits, module: BatchNorm, output: Tensor, before: Place, place: Place) -> Plan | None:
    if place.axes != (*range(2, output.ndim),):
        return None
    affine = derived.affine(module, place.kind)
    if affine is None:
        return None
    hows = ("mean", "max") if affine.rises and output.dtype == place.kind else ("mean",)
    return Plan(
        {how: partial(_derive_affinely, how, affine, before, place) for how in hows},
        lambda: derived.affine(module, place.kind) is affine,
    )


def _derive_affinely(how: str, affine: Affine, before: Place, place: Place) -> None:
    units, out = before.units[how], place.units[how]
    if units.dtype == out.dtype == place.kind:
        torch.addcmul(affine.shift, units, affine.scale, out=out)
    else:
        out.copy_(torch.addcmul(affine.shift, units.to(place.kind), affine.scale))


def _relu(derived: DerivedUnits, module: nn.ReLU, output: Tensor, before: Place, place: Place) -> Plan:
    return Plan({"max": lambda: place.units["max"].copy_(F.relu(before.units["max"]))}, _always)


def _max_pooling(
    derived: DerivedUnits, module: nn.MaxPool2d, output: Tensor, before: Place, place: Place
) -> Plan | None:
    if not _covers(module, before.shape, place.shape):
        return None
    return Plan(
        {"max": lambda: place.units["max"].copy_(before.units["max"])},
        lambda: _covers(module, before.shape, place.shape),
    )


def _pointwise(
    derived: DerivedUnits, module: nn.Conv2d | nn.Linear, output: Tensor, before: Place, place: Place
) -> Plan | None:
    is_small = place.positions < FEWEST_POSITIONS or output.numel() < FEWEST_VALUES
    if is_small or place.axes != _same_positions(module, output):
        return None
    weight, bias = module.weight, module.bias
    if not (type(weight) is nn.Parameter and weight.dtype == output.dtype == place.kind):
        return None
    flat, numbers = weight.flatten(1), _numbers_of(module)  # which keep the memory that they lie in
    return Plan({"mean": partial(_derive_linearly, flat, bias, before, place)}, lambda: _numbers_of(module) == numbers)


def _numbers_of(module: nn.Conv2d | nn.Linear) -> tuple:
    """What tells the weights and the bias of a module from others, as long as these live; plain parameters only."""
    weight = module.weight
    if type(weight) is not nn.Parameter:
        return (None,)
    return weight.data_ptr(), weight.stride(), weight.dtype, id(module.bias)


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


UNPLANNED = Plan({}, _always)
"""Stands for a layer of which nothing is known yet."""

Rule = Callable[[DerivedUnits, nn.Module, Tensor, Place, Place], Plan | None]

RULES: dict[type[nn.Module], tuple[tuple[str, ...], Rule]] = {
    nn.BatchNorm2d: (("mean", "max"), _batch_norm),
    nn.BatchNorm3d: (("mean", "max"), _batch_norm),
    nn.Conv2d: (("mean",), _pointwise),
    nn.Linear: (("mean",), _pointwise),
    nn.ReLU: (("max",), _relu),
    nn.MaxPool2d: (("max",), _max_pooling),
}
"""For each module type, the aggregations whose units may follow, and a function that finds what does; None: nothing.
Subclasses may compute anything, so they are read like other modules."""
