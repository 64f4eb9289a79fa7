"""Units that follow from those of the layer before: feature maps that need not be read.

In evaluation mode a batch norm is y = s·x + b for each channel, so that mean(y) = s·mean(x) + b over the positions of a
sample. A ReLU does not fall, so that max(relu(x)) = relu(max(x)), and the maximum of a max-pooling whose windows leave
no position out is that of its input.

In a shorter type a batch norm rounds what it computes; the means that are derived are those before its rounding.
"""

import weakref
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all

from pytorch.variance.places import Place

Derivation = Callable[[], None]


class DerivedUnits:
    """Remembers the activation before, and tells what units of the present one follow from its, while a model runs.

    Of models whose weights stay as they are.
    """

    def __init__(self) -> None:
        self._before: tuple[weakref.ref[Tensor], int, Place] | None = None
        self._affine: dict[tuple[nn.Module, torch.dtype], tuple[Tensor, Tensor]] = {}

    def remember(self, activation: Tensor, place: Place) -> None:
        """Remember an activation, and where its units are."""
        known = not activation.is_inference()
        self._before = (weakref.ref(activation), activation._version, place) if known else None

    def derivation(
        self, module: nn.Module, inputs: tuple, output: Tensor, place: Place
    ) -> tuple[str, Derivation] | None:
        """Tell which units of an activation follow from those of the activation before.

        Args:
            module: Whose output it is.
            inputs: That it was called with, by position.
            output: (B, C, ...).
            place: Where its units belong.

        Returns:
            The aggregation whose units follow, and what writes them into their place once those of the activation
            before are in theirs; or None. None if the input is not the activation before, or has been changed by an
            operation in place; one that goes round PyTorch's count of these (``.data``) is not noticed. On CUDA always
            None: reading a map takes less time there than launching what derives from it.
        """
        how, rule = RULES.get(type(module), (None, None))
        if rule is None or how not in place.units or not inputs or not output.is_cpu or _is_altered(module):
            return None
        before = self._place_of(inputs[0], module)
        if before is None or how not in before.units or before.kind != place.kind:
            return None
        derive = rule(self, module, before, place)
        return None if derive is None else (how, derive)

    def affine(self, module: nn.BatchNorm2d | nn.BatchNorm3d, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel of a batch norm, (C,)."""
        if (module, kind) not in self._affine:
            scale = (module.running_var.double() + module.eps).rsqrt()
            if module.weight is not None:
                scale = scale * module.weight.double()
            shift = -module.running_mean.double() * scale
            shift = shift if module.bias is None else shift + module.bias.double()
            self._affine[module, kind] = scale.detach().to(kind), shift.detach().to(kind)
        return self._affine[module, kind]

    def _place_of(self, inputs: Tensor, module: nn.Module) -> Place | None:
        """The place of the activation before, if that is what the module was given."""
        if self._before is None:
            return None
        activation, version, place = self._before
        changes = 1 if getattr(module, "inplace", False) else 0  # its own
        return place if inputs is activation() and inputs._version == version + changes else None


def _is_altered(module: nn.Module) -> bool:
    """Whether hooks or another function change what a module computes."""
    hooked = module._forward_pre_hooks or len(module._forward_hooks) > 1  # one is the recorder's
    return bool(
        hooked or hooks_of_all._global_forward_pre_hooks or hooks_of_all._global_forward_hooks
        or "forward" in vars(module)
    )  # fmt: skip


def _batch_norm(derived: DerivedUnits, module: nn.Module, before: Place, place: Place) -> Derivation | None:
    if module.training or module.running_mean is None:
        return None
    scale, shift = derived.affine(module, place.kind)
    return lambda: torch.addcmul(shift, before.units["mean"], scale, out=place.units["mean"])


def _relu(derived: DerivedUnits, module: nn.Module, before: Place, place: Place) -> Derivation | None:
    return lambda: place.units["max"].copy_(F.relu(before.units["max"]))


def _max_pooling(derived: DerivedUnits, module: nn.Module, before: Place, place: Place) -> Derivation | None:
    if not _covers(module, before.shape, place.shape):
        return None
    return lambda: place.units["max"].copy_(before.units["max"])


def _covers(module: nn.MaxPool2d, inputs: torch.Size, output: torch.Size) -> bool:
    """Whether the windows of a pooling leave no position of its input out."""

    def covered(axis: int) -> bool:
        kernel, stride, padding, dilation = (
            value if isinstance(value, int) else value[axis]
            for value in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        reached = (output[axis + 2] - 1) * stride + kernel - padding
        return dilation == 1 and stride <= kernel and reached >= inputs[axis + 2]

    return not module.return_indices and len(inputs) == 4 and covered(0) and covered(1)


RULES: dict[type[nn.Module], tuple[str, Callable[[DerivedUnits, nn.Module, Place, Place], Derivation | None]]] = {
    nn.BatchNorm2d: ("mean", _batch_norm),
    nn.BatchNorm3d: ("mean", _batch_norm),
    nn.ReLU: ("max", _relu),
    nn.MaxPool2d: ("max", _max_pooling),
}
"""By type, the aggregation whose units may follow, and when they do. Subclasses, which may compute anything, are read
as other modules are; so are tokens, whose positions come first."""
