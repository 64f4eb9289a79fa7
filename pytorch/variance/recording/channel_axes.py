"""Which axes of an activation hold channels, followed from operation to operation through one forward pass.

Roles of axes begin at the input, (N, C, ...), and each operation passes them on (see ``roles``). Some operations are
hidden (scripted or compiled modules, custom kernels, threads). For the output of a module that hides them, the first
rule that fits decides:

    an axis that the caller gives                       "given"
    the type of the module                              "known"     } MODULES
    the axis as long as the module's own parameters     "known"
    the same shape as the input of the module           as the input
    (B, D): units; (B, L, D): L are positions;          "assumed"
    (B, C, ...): as many positions as the input has

The same pass finds tensors that only repeat or rearrange values of recorded layers.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import ref

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytorch.errors import InputError
from pytorch.variance.recording import roles
from pytorch.variance.recording.layers import tensors_in
from pytorch.variance.recording.operations import (
    COPYING_OPERATIONS,
    FILLING_OPERATIONS,
    changes_its_argument,
    operation_name,
)

KNOWN, ASSUMED, GIVEN = "known", "assumed", "given"

CONSTANT = -1

MODULES = {
    **dict.fromkeys(("Linear", "Embedding", "LayerNorm", "RMSNorm", "LSTM", "GRU", "RNN", "MultiheadAttention"), -1),
    **{f"{kind}{axes}d": -1 - axes for axes in (1, 2, 3) for kind in (
        "Conv", "ConvTranspose", "MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "LPPool")},
    **dict.fromkeys((*(f"{kind}{axes}d" for axes in (1, 2, 3) for kind in ("BatchNorm", "InstanceNorm")),
                     "GroupNorm", "SyncBatchNorm", "Unfold"), 1),
}  # fmt: skip
"""Channel axis of modules whose operations are hidden, by the exact name of their type."""


class Trace(NamedTuple):
    """What is known about a tensor.

    Attributes:
        tensor: The tensor, as long as it lives.
        axes: Factors of each axis; None: unknown.
        certainty: ``KNOWN``, ``ASSUMED`` or ``GIVEN``.
        made: Number of the operation that made its newest value; 0 if all values are in recorded tensors, and
            ``CONSTANT`` if none depends on the input.
        version: Version counter of the tensor, which in-place operations increase.
    """

    tensor: ref[Tensor]
    axes: roles.Axes | None
    certainty: str
    made: int
    version: int


class ChannelAxes(TorchFunctionMode):
    """Follows the roles of axes through a forward pass while it is open.

    Attributes:
        count: Number of operations so far.

    Args:
        inputs: Inputs of the network, (N, C, ...).
        constants: Parameters and buffers of the network.
    """

    def __init__(self, inputs: Tensor, constants: Iterable[Tensor]) -> None:
        super().__init__()
        self.count = 0
        self._spatial = max(inputs.ndim - 2, 0) or 2
        self._traces: dict[int, Trace] = {}
        self._set(inputs, roles.plain_axes(inputs.shape, [1]), KNOWN, 0)
        for constant in constants:
            self._set(constant, None, KNOWN, CONSTANT)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and follow the axes of its operands."""
        kwargs = kwargs or {}
        assigns = func is Tensor.__setitem__ and isinstance(args[2], Tensor)
        before = self._trace(args[0]) if assigns else None
        result = func(*args, **kwargs)
        self.count += 1
        if before is not None:
            self._assign(*args[::2], before)
        for place, made in enumerate(tensors_in(result)):
            self._follow(func, args, kwargs, made, place)
        return result

    def enter(self, inputs: Any) -> int:
        """Return the number of operations at the call of a module, whose inputs were made before."""
        for tensor in tensors_in(inputs):
            if self.made(tensor) > self.count:
                known = self._trace(tensor)
                self._set(tensor, known and known.axes, KNOWN, self.count)
        return self.count

    def made(self, tensor: Tensor) -> int:
        """Number of the operation that made the newest value of a tensor, as ``Trace.made``."""
        return self._made(tensor, self._trace(tensor))

    def record(
        self, tensor: Tensor, name: str, given: Any, module: nn.Module | None, inputs: Any
    ) -> tuple[tuple[int, ...], str]:
        """Decide the axes of a tensor that becomes a layer.

        Args:
            tensor: Activation, (B, ...).
            name: Name of the layer.
            given: Axis or axes of channels that the caller has set, or None.
            module: Module that computed it; None for an operation.
            inputs: Arguments of the module.

        Returns:
            The axes of its units, and whether they are known, assumed or given.

        Raises:
            InputError: The caller has set an axis that the tensor does not have.
        """
        trace = self._trace(tensor)
        axes, certainty = (trace.axes, trace.certainty) if trace else (None, KNOWN)
        if given is not None:
            axes, certainty = _given_axes(name, given, tensor), GIVEN
        elif axes is None:
            axes, certainty = self._settled(tensor, module, inputs)
        self._set(tensor, axes, certainty, 0)
        channels = tuple(axis for axis, factors in enumerate(axes) if axis and roles.role_of(factors) == roles.UNIT)
        return (channels if tensor.ndim != 2 or certainty == GIVEN else (1,)), certainty

    def _set(self, tensor: Tensor, axes: roles.Axes | None, certainty: str, made: int) -> None:
        self._traces[id(tensor)] = Trace(ref(tensor), axes, certainty, made, _version(tensor))

    def _trace(self, tensor: Any) -> Trace | None:
        trace = self._traces.get(id(tensor))
        return trace if trace is not None and trace.tensor() is tensor else None

    def _made(self, tensor: Tensor, trace: Trace | None) -> int:
        return self.count + 1 if trace is None or trace.version != _version(tensor) else trace.made

    def _assign(self, tensor: Tensor, values: Tensor, before: Trace) -> None:
        """Follow values into a part of a tensor, whose axes are those of its first content."""
        trace, axes = self._trace(values), before.axes
        if axes is None and trace is not None and trace.axes is not None and values.ndim == tensor.ndim:
            axes = tuple(roles.resized(factors, size) for factors, size in zip(trace.axes, tensor.shape, strict=True))
        certainty = ASSUMED if trace is not None and trace.certainty == ASSUMED else before.certainty
        self._set(tensor, axes, certainty, max(before.made, self._made(values, trace)))

    def _follow(self, func: Callable[..., Any], args: tuple, kwargs: dict[str, Any], made: Tensor, place: int) -> None:
        given = tensors_in([args, {**kwargs, "out": None}] if kwargs else args)
        traced = [(tensor, trace) for tensor in given if (trace := self._trace(tensor)) is not None]
        if given and not traced:
            return
        name = operation_name(func)
        numbers = [self._made(*each) for each in traced]
        if FILLING_OPERATIONS.fullmatch(name) or all(number == CONSTANT for number in numbers):
            self._set(made, None, KNOWN, CONSTANT)
            return
        base = next((tensor for tensor, _ in traced if tensor is made or _shares_memory(tensor, made)), None)
        in_place = changes_its_argument(func) or kwargs.get("inplace")
        repeats = (base is not None and not (in_place and made.is_inference())) or name in COPYING_OPERATIONS
        operands = [(tensor, trace) for tensor, trace in traced if trace.axes is not None]
        axes, certainty = None, KNOWN
        if operands or name in roles.SOURCES:
            known = [(tensor, trace.axes) for tensor, trace in operands]
            axes = roles.axes_of_result(name, args, kwargs, known, base, made, place)
        if operands and name not in roles.SOURCES and operands[0][1].certainty == ASSUMED:
            certainty = ASSUMED
        self._set(made, axes, certainty, max(numbers) if repeats else self.count)

    def _settled(self, tensor: Tensor, module: nn.Module | None, inputs: Any) -> tuple[roles.Axes, str]:
        """Axes of a tensor whose operations are hidden."""
        operand = next(iter(tensors_in(inputs)), None)
        before = self._trace(operand)
        fits = [axis for axis in (MODULES.get(type(module).__name__),) if axis is not None and axis >= -tensor.ndim]
        if not fits and module is not None:
            own = {len(each) for each in module.parameters(recurse=False) if each.ndim == 1}
            fits = [axis for axis in range(1, tensor.ndim) if tensor.shape[axis] in own]
        if len(fits) == 1:
            return roles.of_source(tensor.shape, fits[0], before.axes if before else None), KNOWN
        if before and before.axes and operand.shape == tensor.shape:
            return before.axes, before.certainty
        positions = range(1, 2) if tensor.ndim == 3 else range(max(2, tensor.ndim - self._spatial), tensor.ndim)
        units = [axis for axis in range(1, tensor.ndim) if axis not in positions]
        return roles.plain_axes(tensor.shape, units), KNOWN if tensor.ndim < 3 else ASSUMED


def _given_axes(name: str, given: Any, tensor: Tensor) -> roles.Axes:
    """Axes in which the caller has set those of channels."""
    named = {given} if not isinstance(given, (tuple, list, set)) else {*given}
    if not all(isinstance(axis, int) and -tensor.ndim < axis < tensor.ndim and axis % tensor.ndim for axis in named):
        raise InputError(f"layer {name}: channel_axis is {given!r}, and an activation of shape {tuple(tensor.shape)} "
                         f"has the axes 1 to {tensor.ndim - 1}")  # fmt: skip
    return roles.plain_axes(tensor.shape, [axis % tensor.ndim for axis in named])


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _shares_memory(one: Tensor, other: Tensor) -> bool:
    try:
        return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0
    except (RuntimeError, NotImplementedError):  # sparse, nested, or inside a transform: there is no memory
        return False
