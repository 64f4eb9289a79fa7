"""Units that follow from those of the layer before: feature maps that need not be read.

In evaluation mode a batch norm is y = s·x + b for each channel, so that mean(y) = s·mean(x) + b over the positions of a
sample, and max(y) = s·max(x) + b where s is positive (were it 0, an infinite x would become NaN, which the maximum of x
does not tell) and b finite. A ReLU does not fall, so that max(relu(x)) = relu(max(x)). The maximum of a max-pooling
whose windows leave no position out is that of its input.

In a shorter type a batch norm rounds what it computes: the means that are derived are those before its rounding; maxima
must be of rounded values, and are read.
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


class DerivedUnits:
    """Remembers the activation before, and tells what units of the present one follow from its, while a model runs."""

    def __init__(self) -> None:
        self._before: tuple[weakref.ref[Tensor], int, Place] | None = None
        self._affine: dict[tuple[nn.Module, torch.dtype], Affine] = {}
        self._all_hooked = False

    def restart(self) -> None:
        """Forget the activation before: another forward pass begins."""
        self._before = None
        self._all_hooked = bool(hooks_of_all._global_forward_pre_hooks or hooks_of_all._global_forward_hooks)

    def is_altered(self, module: nn.Module) -> bool:
        """Whether hooks or another function change what a module computes; the recorder's own hook does not."""
        hooked = module._forward_pre_hooks or len(module._forward_hooks) > 1
        return bool(hooked or self._all_hooked or "forward" in vars(module))

    def remember(self, activation: Tensor, place: Place) -> None:
        """Remember an activation, and where its units are."""
        known = not activation.is_inference()
        self._before = (weakref.ref(activation), activation._version, place) if known else None

    def derivations(
        self, module: nn.Module | None, inputs: tuple, output: Tensor, place: Place
    ) -> dict[str, Derivation]:
        """Tell which units of an activation follow from those of the activation before.

        Args:
            module: Whose output it is; None: an operation's.
            inputs: That it was called with, by position.
            output: (B, C, ...).
            place: Where its units belong.

        Returns:
            The aggregations whose units follow, and what writes them into their place once those of the activation
            before are in theirs. None follow if the input is not the activation before, or has been changed by an
            operation in place; one that goes round PyTorch's count of these (``.data``, NumPy) is not noticed. Nor on
            CUDA, where layers are read together (see ``chains``).
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
        """What a batch norm computes with the numbers that it has now.

        None if they are those of the batch, or cannot be watched.
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
        """The place of the activation before, if that is what the module was given."""
        if self._before is None:
            return None
        activation, version, place = self._before
        changes = 1 if getattr(module, "inplace", False) else 0  # its own
        return place if inputs is activation() and inputs._version == version + changes else None


@dataclass(frozen=True)
class Affine:
    """What a batch norm does to each channel, and the numbers that it follows from, which a model may change.

    Attributes:
        numbers: Mean, variance, weight and bias of the batch norm.
        versions: Of those that are there.
        eps: What was added to the variance.
        scale, shift: (C,).
    """

    numbers: tuple[Tensor | None, ...]
    versions: list[int]
    eps: float
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, numbers: tuple[Tensor | None, ...], versions: list[int], eps: float, kind: torch.dtype) -> "Affine":
        """Compute scale and shift in float64, and round them to the type of the units."""
        mean, variance, weight, bias = (None if each is None else each.detach().double() for each in numbers)
        scale = (variance + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return cls(numbers, versions, eps, scale.to(kind), shift.to(kind))

    @cached_property
    def rises(self) -> bool:
        """Whether every scale is positive, and all numbers are finite."""
        return bool(((self.scale > 0) & self.scale.isfinite() & self.shift.isfinite()).all())

    def is_of(self, numbers: tuple[Tensor | None, ...], versions: list[int], eps: float) -> bool:
        """Whether it follows from these numbers, as they are now."""
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


def _covers(module: nn.MaxPool2d, inputs: torch.Size, output: torch.Size) -> bool:
    """Whether the windows of a pooling leave no position of its input out."""

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
    nn.ReLU: (("max",), _relu),
    nn.MaxPool2d: (("max",), _max_pooling),
}
"""By type, the aggregations whose units may follow, and what tells which do. Subclasses, which may compute anything,
are read as other modules are; so are tokens, whose positions come first."""
