"""Which axes of an activation hold channels, followed from operation to operation through one forward pass.

An axis is a product of factors, and each factor has a role: it counts samples, units or positions. Units are kept,
positions are aggregated. Roles begin at the input, (N, C, ...), and each operation passes them on:

    operation                                           axes of its result
    linear, embedding, layer_norm, rms_norm, rnn, ...   the last one holds channels             } SOURCES
    convolutions, unfold, batch, group, instance norm   the one before the positions, or 1      }
    x @ w, w @ x, einsum                                by letter; those of a parameter are units, or positions where
                                                        they take the place of positions (a graph)
    view, reshape, flatten, unflatten, squeeze, ...     factors are merged and split in order; so heads, groups,
                                                        windows and patches keep their roles
    other views (permute, chunk, x[...], expand)        the axis of the base that has the same stride
    reductions with ``dim``                             those that are left
    stack                                               the new one holds units
    any other of the same number of axes (add, cat,     axis by axis those of the first operand that is longer than 1
    relu, softmax, pooling, interpolate, roll, ...)     there

A source turns all other axes into positions, unless its channels came from channels: then adjacent heads, groups and
fields stay units. Some operations are hidden (scripted or compiled modules, custom kernels, threads). For the output of
a module that hides them, the first rule that fits decides:

    an axis that the caller gives                       "given"
    the type of the module                              "known"     } MODULES
    the axis as long as the module's own parameters     "known"
    the same shape as the input of the module           as the input
    (B, D): units; (B, L, D): L are positions;          "assumed"
    (B, C, ...): as many positions as the input has

The same pass finds tensors that only repeat or rearrange values of recorded layers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from pytorch.variance.recording.layers import tensors_in
from pytorch.variance.recording.operations import (
    COPYING_OPERATIONS,
    FILLING_OPERATIONS,
    changes_its_argument,
    operation_name,
)

BATCH, UNIT, POSITION = "batch", "unit", "position"

KNOWN, ASSUMED, GIVEN = "known", "assumed", "given"

CONSTANT = -1

Axis = tuple[tuple[int, str], ...]
"""Factors of an axis, slowest first: (length, role)."""

SOURCES = {
    **dict.fromkeys(("linear", "bilinear", "embedding", "layer_norm", "rms_norm", "multi_head_attention_forward"), -1),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), -1),
    **dict.fromkeys(("conv1d", "conv_transpose1d", "unfold", "im2col"), -2),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "fold", "pixel_shuffle", "pixel_unshuffle"), -3),
    **dict.fromkeys(("conv3d", "conv_transpose3d"), -4),
    **dict.fromkeys(("batch_norm", "group_norm", "instance_norm"), 1),
}
"""Operations that produce channels, and their channel axis."""

MODULES = {
    **dict.fromkeys(("Linear", "Embedding", "LayerNorm", "RMSNorm", "LSTM", "GRU", "RNN", "MultiheadAttention"), -1),
    **{f"{kind}{axes}d": -1 - axes for axes in (1, 2, 3) for kind in (
        "Conv", "ConvTranspose", "MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "LPPool")},
    **dict.fromkeys((*(f"{kind}{axes}d" for axes in (1, 2, 3) for kind in ("BatchNorm", "InstanceNorm")),
                     "GroupNorm", "SyncBatchNorm", "Unfold"), 1),
}  # fmt: skip
"""Channel axis of modules whose operations are hidden, by the exact name of their type."""

RESHAPES = frozenset({
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel", "view_as", "reshape_as",
})  # fmt: skip

PRODUCTS = frozenset({"matmul", "bmm", "mm"})


@dataclass(frozen=True)
class Trace:
    """What is known about a tensor.

    Attributes:
        axes: Factors of each axis; None: unknown.
        certainty: ``KNOWN``, ``ASSUMED`` or ``GIVEN``.
        made: Number of the operation that made its newest value; 0 if all values are in recorded tensors, and
            ``CONSTANT`` if none depends on the input.
        version: Version counter of the tensor, which in-place operations increase.
    """

    axes: tuple[Axis, ...] | None
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
        given: Function of a layer's names and module that returns the axes set by the caller, or None.
    """

    def __init__(
        self, inputs: Tensor, constants: Iterable[Tensor], given: Callable[[Sequence[str], nn.Module | None], Any]
    ) -> None:
        super().__init__()
        self.count = 0
        self._given = given
        self._spatial = max(inputs.ndim - 2, 0) or 2
        self._traces: Mapping[Tensor, Trace] = WeakTensorKeyDictionary()
        roles = (BATCH, UNIT, *[POSITION] * (inputs.ndim - 2))
        axes = tuple(((size, role),) for size, role in zip(inputs.shape, roles, strict=True))
        self._traces[inputs] = Trace(axes, KNOWN, 0, _version(inputs))
        for constant in constants:
            self._traces[constant] = Trace(None, KNOWN, CONSTANT, _version(constant))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and follow the axes of its operands."""
        kwargs = kwargs or {}
        assigns = func is Tensor.__setitem__ and isinstance(args[2], Tensor)
        before = self._traces.get(args[0]) if assigns else None
        result = func(*args, **kwargs)
        self.count += 1
        if before is not None:
            self._assign(*args[::2], before)
        for place, made in enumerate(tensors_in(result)):
            self._follow(func, args, kwargs, made, place)
        return result

    def _assign(self, tensor: Tensor, values: Tensor, before: Trace) -> None:
        """Follow values into a part of a tensor, whose axes are those of its first content."""
        trace, axes = self._traces.get(values), before.axes
        if axes is None and trace is not None and trace.axes is not None and values.ndim == tensor.ndim:
            axes = tuple(_resized(factors, size) for factors, size in zip(trace.axes, tensor.shape, strict=True))
        certainty = ASSUMED if trace is not None and trace.certainty == ASSUMED else before.certainty
        self._traces[tensor] = Trace(axes, certainty, max(before.made, self.made(values)), _version(tensor))

    def made(self, tensor: Tensor) -> int:
        """Number of the operation that made the newest value of a tensor, as ``Trace.made``."""
        trace = self._traces.get(tensor)
        return self.count + 1 if trace is None or trace.version != _version(tensor) else trace.made

    def enter(self, inputs: Any) -> int:
        """Return the number of operations at the call of a module, whose inputs were made before."""
        for tensor in tensors_in(inputs):
            if self.made(tensor) > self.count:
                known = self._traces.get(tensor)
                self._traces[tensor] = Trace(known and known.axes, KNOWN, self.count, _version(tensor))
        return self.count

    def record(self, tensor: Tensor, names: Sequence[str], module: nn.Module | None, inputs: Any) -> tuple[
        tuple[int, ...], str
    ]:  # fmt: skip
        """Decide the axes of a tensor that becomes a layer.

        Args:
            tensor: Activation, (B, ...).
            names: Names of the layer.
            module: Module that computed it; None for an operation.
            inputs: Arguments of the module.

        Returns:
            The axes of its units, and whether they are known, assumed or given.

        Raises:
            ValueError: The caller has set an axis that the tensor does not have.
        """
        trace = self._traces.get(tensor)
        axes, certainty = (trace.axes, trace.certainty) if trace else (None, KNOWN)
        given = self._given(names, module)
        if given is not None:
            axes, certainty = _given_axes(given, tensor), GIVEN
        elif axes is None:
            axes, certainty = self._settled(tensor, module, inputs)
        self._traces[tensor] = Trace(axes, certainty, 0, _version(tensor))
        channels = tuple(axis for axis, factors in enumerate(axes) if axis and _role(factors) == UNIT)
        return (channels if tensor.ndim != 2 or certainty == GIVEN else (1,)), certainty

    def _settled(self, tensor: Tensor, module: nn.Module | None, inputs: Any) -> tuple[tuple[Axis, ...], str]:
        """Axes of a tensor whose operations are hidden."""
        operand = next(iter(tensors_in(inputs)), None)
        before = self._traces.get(operand) if operand is not None else None
        axis = MODULES.get(type(module).__name__)
        if axis is not None and axis >= -tensor.ndim:
            return _source(tensor.shape, axis, before.axes if before else None), KNOWN
        own = {len(each) for each in module.parameters(recurse=False) if each.ndim == 1} if module is not None else ()
        fits = [axis for axis in range(1, tensor.ndim) if tensor.shape[axis] in own]
        if len(fits) == 1:
            return _source(tensor.shape, fits[0], before.axes if before else None), KNOWN
        if before and before.axes and operand.shape == tensor.shape:
            return before.axes, before.certainty
        positions = range(1, 2) if tensor.ndim == 3 else range(max(2, tensor.ndim - self._spatial), tensor.ndim)
        roles = [BATCH, *(POSITION if axis in positions else UNIT for axis in range(1, tensor.ndim))]
        return tuple(zip(zip(tensor.shape, roles, strict=True))), KNOWN if tensor.ndim < 3 else ASSUMED

    def _follow(self, func: Callable[..., Any], args: tuple, kwargs: dict[str, Any], made: Tensor, place: int) -> None:
        given = tensors_in([args, {**kwargs, "out": None}] if kwargs else args)
        operands = [tensor for tensor in given if tensor in self._traces]
        if len(operands) < len(given) and not operands:
            return
        name = operation_name(func)
        if FILLING_OPERATIONS.fullmatch(name) or all(self.made(tensor) == CONSTANT for tensor in operands):
            self._traces[made] = Trace(None, KNOWN, CONSTANT, _version(made))
            return
        base = next((tensor for tensor in operands if tensor is made or _shares_memory(tensor, made)), None)
        in_place = changes_its_argument(func) or kwargs.get("inplace")
        repeats = (base is not None and not (in_place and made.is_inference())) or name in COPYING_OPERATIONS
        number = max(map(self.made, operands)) if repeats else self.count
        traced = [(tensor, self._traces[tensor]) for tensor in operands if self._traces[tensor].axes is not None]
        axes = None
        if traced or name in SOURCES:
            axes = _axes(name, args, kwargs, [(tensor, trace.axes) for tensor, trace in traced], base, made, place)
        certain = all(trace.certainty != ASSUMED for _, trace in traced[:1]) or name in SOURCES
        self._traces[made] = Trace(axes, KNOWN if certain else ASSUMED, number, _version(made))


def _axes(
    name: str, args: tuple, kwargs: dict[str, Any], operands: list[tuple[Tensor, tuple[Axis, ...]]],
    base: Tensor | None, made: Tensor, place: int,
) -> tuple[Axis, ...] | None:  # fmt: skip
    """Axes of the result of an operation, from the axes of its operands; None: unknown."""
    first, before = operands[0] if operands else (None, None)
    if (
        base is None and name in ("unfold", "im2col") and first is not None
    ):  # each channel with the positions in its patch
        channels = first.shape[-3]
        patches = ((channels, UNIT), (made.shape[-2] // channels, POSITION)), ((made.shape[-1], POSITION),)
        return (*before[:-3], *patches)
    if base is None and name in SOURCES and made.ndim >= abs(SOURCES[name]):
        if place:  # the weights of attention, (B, heads, L, S) or without heads
            roles = (UNIT if (axis, made.ndim) == (1, 4) else POSITION for axis in range(1, made.ndim))
            return tuple(zip(zip(made.shape, (BATCH, *roles), strict=True)))
        return _source(made.shape, SOURCES[name], before, first)
    if not operands:
        return None
    if name in RESHAPES:
        return regrouped(before, made.shape)
    if base is not None:
        known = next((axes for tensor, axes in operands if tensor is base), None)
        return known if made is base or known is None else _of_view(base, known, made)
    if name in PRODUCTS:
        return _of_product(*(next((axes for tensor, axes in operands if tensor is each), None) for each in args[:2]),
                           args[:2], made)  # fmt: skip
    if name == "einsum":
        return _of_einsum(args, operands, made)
    dims = kwargs.get("dim", kwargs.get("axis", next((each for each in args[1:2] if isinstance(each, (int, tuple, list))
                                                     and not isinstance(each, bool)), None)))  # fmt: skip
    if made.ndim < first.ndim and dims is not None:
        gone = {dim % first.ndim for dim in ((dims,) if isinstance(dims, int) else dims)}
        left = tuple(axis for dim, axis in enumerate(before) if dim not in gone)
        return left if len(left) == made.ndim else None
    if name == "stack":
        dim = (dims or 0) % made.ndim
        return (*before[:dim], ((made.shape[dim], UNIT),), *before[dim:])
    if max(tensor.ndim for tensor, _ in operands) != made.ndim:
        return None
    return _broadcast(operands, made.shape, tensors_in(args))


def _role(factors: Axis) -> str:
    """Role of an axis with several factors; units take precedence, so that they are never aggregated unasked."""
    roles = {role for _, role in factors}
    return UNIT if UNIT in roles else BATCH if BATCH in roles else POSITION


def _resized(factors: Axis, size: int) -> Axis:
    """Axis of the same role with another length."""
    return factors if prod(length for length, _ in factors) == size else ((size, _role(factors)),)


def _source(
    shape: Sequence[int], axis: int, before: tuple[Axis, ...] | None, operand: Tensor | None = None
) -> tuple[Axis, ...]:
    """Axes of the result of a source; if its channels came from channels, other axes of units stay units.

    >>> _source((2, 5, 7), -1, None)
    (((2, 'batch'),), ((5, 'position'),), ((7, 'unit'),))
    >>> heads = (((2, "batch"),), ((3, "unit"),), ((5, "position"),), ((4, "unit"),))
    >>> _source((2, 3, 5, 7), -1, heads)[1]
    ((3, 'unit'),)
    """
    axis %= len(shape)
    if before is None or len(before) != len(shape):
        before, beside = (((shape[0], BATCH),), *(((size, POSITION),) for size in shape[1:])), False
    else:
        beside = _role(before[axis]) == UNIT or (operand is not None and operand.shape[axis] == shape[axis] == 1)
    found = [_resized(factors, size) for factors, size in zip(before, shape, strict=True)]
    found = [
        each if beside or _role(each) != UNIT else ((size, POSITION),) for each, size in zip(found, shape, strict=True)
    ]
    found[axis] = ((shape[axis], UNIT),)
    return tuple(found)


def regrouped(axes: tuple[Axis, ...], shape: Sequence[int]) -> tuple[Axis, ...] | None:
    """Merge and split axes, in order, into axes of other lengths; None if a new axis would cut through a factor.

    >>> image = (((2, "batch"),), ((6, "unit"),), ((4, "position"),), ((4, "position"),))
    >>> regrouped(image, (2, 3, 2, 16))
    (((2, 'batch'),), ((3, 'unit'),), ((2, 'unit'),), ((16, 'position'),))
    >>> regrouped(image, (2, 96))[1]
    ((6, 'unit'), (16, 'position'))
    """
    left: list[tuple[int, str]] = []
    for length, role in chain.from_iterable(axes):
        if left and left[-1][1] == role:
            left[-1] = (left[-1][0] * length, role)
        elif length > 1 or role == UNIT:
            left.append((length, role))
    found = []
    for size in shape:
        factors = []
        if left and left[0][0] == 1:  # a single channel has its own axis, or shares that of all that follows
            single = left.pop(0)
            factors = [single] if size == 1 or (left and left[0][0] == size) else []
        while size > 1:
            length, role = left.pop(0) if left else (0, "")
            if length and size % length == 0:
                factors.append((length, role))
                size //= length
            elif length and length % size == 0:
                factors.append((size, role))
                left.insert(0, (length // size, role))
                size = 1
            else:
                return None
        found.append(tuple(factors))
    return None if left else tuple(found)


def _of_view(base: Tensor, axes: tuple[Axis, ...], view: Tensor) -> tuple[Axis, ...]:
    """Axes of a view: each follows the axis of the base whose stride is the largest divisor of its own stride."""
    found = []
    for size, stride in zip(view.shape, view.stride(), strict=True):
        fits = [
            (step, axis)
            for axis, (length, step) in enumerate(zip(base.shape, base.stride(), strict=True))
            if 0 < step <= stride and length > 1 and stride % step == 0 and stride * (size - 1) <= step * (length - 1)
        ]
        found.append(
            _resized(axes[max(fits)[1]], size) if size > 1 and fits else ((size, POSITION),) if size > 1 else ()
        )
    return tuple(found)


def _of_product(
    left: tuple[Axis, ...] | None, right: tuple[Axis, ...] | None, operands: Sequence[Tensor], made: Tensor
) -> tuple[Axis, ...] | None:
    """Axes of (..., m, k) @ (..., k, n), where one operand may be a parameter."""
    if any(tensor.ndim < 2 for tensor in operands):
        return None
    outer = _broadcast(
        [(t, a) for t, a in zip(operands, (left, right), strict=True) if a is not None], made.shape, operands
    )
    rows = left[-2] if left is not None else _resized(right[-2], made.shape[-2])
    columns = right[-1] if right is not None else _in_place_of(left[-1:], left[1:-1], made.shape[-1])
    return (*outer[:-2], rows, columns)


def _in_place_of(summed: Sequence[Axis], others: Sequence[Axis], size: int) -> Axis:
    """Axis of a parameter that replaces summed axes: positions if the sum mixes positions of channels, else units."""
    mixes = all(_role(axis) == POSITION for axis in summed) and any(_role(axis) == UNIT for axis in others)
    return ((size, POSITION if summed and mixes else UNIT),)


def _of_einsum(args: tuple, operands: list[tuple[Tensor, tuple[Axis, ...]]], made: Tensor) -> tuple[Axis, ...] | None:
    """Axes of an einsum, from the letters of its equation."""
    equation = args[0].replace(" ", "") if isinstance(args[0], str) else "..."
    tensors = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    terms, arrow, letters = equation.partition("->")
    if "." in equation or not arrow:
        return None
    roles: dict[str, Axis] = {}
    for term, tensor in zip(terms.split(","), tensors, strict=True):
        for each, axes in operands:
            if each is tensor:
                roles = {**dict(zip(term, axes, strict=True)), **roles}
    summed = [axis for letter, axis in roles.items() if letter not in letters]
    others = [axis for letter, axis in roles.items() if letter in letters]
    return tuple(
        roles[letter] if letter in roles else _in_place_of(summed, others, size)
        for letter, size in zip(letters, made.shape, strict=True)
    )


def _broadcast(
    operands: list[tuple[Tensor, tuple[Axis, ...]]], shape: Sequence[int], given: Sequence[Tensor]
) -> tuple[Axis, ...]:
    """Axes of a broadcast: for each axis, from the last, the first operand with a length above 1 decides.

    Any other length comes from a parameter, whose axes are units, or from resizing the axis itself.
    """
    found: list[Axis] = []
    for back, size in zip(range(-1, -len(shape) - 1, -1), reversed(shape), strict=True):
        there = [(tensor.shape[back], axes[back]) for tensor, axes in operands if tensor.ndim >= -back]
        longer = [axis for length, axis in there if length > 1]
        of_parameter = any(tensor.ndim >= -back and tensor.shape[back] == size > 1 for tensor in given)
        if longer or not of_parameter:
            found.append(_resized((longer or [axis for _, axis in there])[0], size))
        else:
            found.append(((size, UNIT),))
    return tuple(reversed(found))


def _given_axes(given: Any, tensor: Tensor) -> tuple[Axis, ...]:
    """Axes in which the caller has set those of channels."""
    named = {given} if not isinstance(given, (tuple, list, set)) else {*given}
    if not all(isinstance(axis, int) and -tensor.ndim < axis < tensor.ndim and axis % tensor.ndim for axis in named):
        raise ValueError(f"channel_axis is {given!r}, and an activation of shape {tuple(tensor.shape)} has the axes "
                         f"1 to {tensor.ndim - 1}")  # fmt: skip
    named = {axis % tensor.ndim for axis in named}
    roles = [BATCH, *(UNIT if axis in named else POSITION for axis in range(1, tensor.ndim))]
    return tuple(((size, role),) for size, role in zip(tensor.shape, roles, strict=True))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _shares_memory(one: Tensor, other: Tensor) -> bool:
    try:
        return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0
    except (RuntimeError, NotImplementedError):  # sparse, nested, or inside a transform: there is no memory
        return False
