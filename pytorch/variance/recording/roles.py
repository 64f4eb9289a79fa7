"""Roles of axes: how each operation passes them on.

An axis is a product of factors, and each factor has a role: it counts samples, units or positions.

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
fields stay units.
"""

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

from torch import Tensor

from pytorch.variance.recording.layers import tensors_in

BATCH, UNIT, POSITION = "batch", "unit", "position"

Axis = tuple[tuple[int, str], ...]
"""Factors of an axis, slowest first: (length, role)."""

Axes = tuple[Axis, ...]
"""All axes of a tensor."""

Operand = tuple[Tensor, Axes]

SOURCES = {
    **dict.fromkeys(("linear", "bilinear", "embedding", "layer_norm", "rms_norm", "multi_head_attention_forward"), -1),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), -1),
    **dict.fromkeys(("conv1d", "conv_transpose1d", "unfold", "im2col"), -2),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "fold", "pixel_shuffle", "pixel_unshuffle"), -3),
    **dict.fromkeys(("conv3d", "conv_transpose3d"), -4),
    **dict.fromkeys(("batch_norm", "group_norm", "instance_norm"), 1),
}
"""Operations that produce channels, and their channel axis."""

RESHAPES = frozenset({
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel", "view_as", "reshape_as",
})  # fmt: skip


def axes_of_result(
    name: str, args: tuple, kwargs: dict[str, Any], operands: list[Operand], base: Tensor | None, made: Tensor,
    place: int,
) -> Axes | None:  # fmt: skip
    """Axes of the result of an operation, from the axes of its operands; None: unknown.

    Args:
        name: Name of the operation.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        operands: Operands whose axes are known, with these axes.
        base: Operand that shares the memory of the result; None: the result has memory of its own.
        made: The result.
        place: Index of this tensor in the result.
    """
    first, before = operands[0] if operands else (None, None)
    if base is None and name in SOURCES and made.ndim >= abs(SOURCES[name]):
        if place:  # the weights of attention, (B, heads, L, S) or without heads
            return plain_axes(made.shape, [1] if made.ndim == 4 else [])
        if name in ("unfold", "im2col") and first is not None:  # each channel with the positions in its patch
            channels = first.shape[-3]
            patches = ((channels, UNIT), (made.shape[-2] // channels, POSITION)), ((made.shape[-1], POSITION),)
            return (*before[:-3], *patches)
        return of_source(made.shape, SOURCES[name], before, first)
    if not operands:
        return None
    if name in RESHAPES:
        return regrouped(before, made.shape)
    if base is not None:
        known = _known(operands, base)
        return known if made is base or known is None else _of_view(base, known, made)
    if name in ("matmul", "bmm", "mm"):
        return _of_product(operands, tensors_in([args, kwargs])[:2], made)
    if name == "einsum":
        return _of_einsum(args, operands, made)
    dims = _dims(args, kwargs)
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


def plain_axes(shape: Sequence[int], units: Sequence[int]) -> Axes:
    """Axes (B, ...) of one factor each: ``units`` lists those of units, and all others are positions.

    >>> plain_axes((2, 5, 7), [1])
    (((2, 'batch'),), ((5, 'unit'),), ((7, 'position'),))
    """
    return tuple(((size, UNIT if axis in units else POSITION if axis else BATCH),) for axis, size in enumerate(shape))


def role_of(factors: Axis) -> str:
    """Role of an axis with several factors; units take precedence, so that they are never aggregated unasked."""
    roles = {role for _, role in factors}
    return UNIT if UNIT in roles else BATCH if BATCH in roles else POSITION


def resized(factors: Axis, size: int) -> Axis:
    """Axis of the same role with another length."""
    return factors if prod(length for length, _ in factors) == size else ((size, role_of(factors)),)


def of_source(shape: Sequence[int], axis: int, before: Axes | None, operand: Tensor | None = None) -> Axes:
    """Axes of the result of a source; if its channels came from channels, other axes of units stay units.

    >>> of_source((2, 5, 7), -1, None)
    (((2, 'batch'),), ((5, 'position'),), ((7, 'unit'),))
    >>> heads = (((2, "batch"),), ((3, "unit"),), ((5, "position"),), ((4, "unit"),))
    >>> of_source((2, 3, 5, 7), -1, heads)[1]
    ((3, 'unit'),)
    """
    axis %= len(shape)
    if before is None or len(before) != len(shape):
        return plain_axes(shape, [axis])
    beside = role_of(before[axis]) == UNIT or (operand is not None and operand.shape[axis] == shape[axis] == 1)
    found = [
        resized(factors, size) if beside or role_of(factors) != UNIT else ((size, POSITION),)
        for factors, size in zip(before, shape, strict=True)
    ]
    found[axis] = ((shape[axis], UNIT),)
    return tuple(found)


def regrouped(axes: Axes, shape: Sequence[int]) -> Axes | None:
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


def _known(operands: list[Operand], tensor: Any) -> Axes | None:
    """Axes of an operand; None: unknown."""
    return next((axes for each, axes in operands if each is tensor), None)


def _dims(args: tuple, kwargs: dict[str, Any]) -> int | Sequence[int] | None:
    """Axes that an operation is told to work along, by name or in the second place."""
    given = (kwargs.get("dim"), kwargs.get("axis"), *args[1:2])
    return next((dims for dims in given if isinstance(dims, (int, tuple, list)) and not isinstance(dims, bool)), None)


def _of_view(base: Tensor, axes: Axes, view: Tensor) -> Axes:
    """Axes of a view: each follows the axis of the base whose stride is the largest divisor of its own stride."""

    def followed(size: int, stride: int) -> Axis:
        if size < 2:
            return ()
        fits = [
            (step, axis)
            for axis, (length, step) in enumerate(zip(base.shape, base.stride(), strict=True))
            if 0 < step <= stride and length > 1 and stride % step == 0 and stride * (size - 1) <= step * (length - 1)
        ]
        return resized(axes[max(fits)[1]], size) if fits else ((size, POSITION),)

    return tuple(map(followed, view.shape, view.stride()))


def _of_product(operands: list[Operand], factors: list[Tensor], made: Tensor) -> Axes | None:
    """Axes of (..., m, k) @ (..., k, n), where one factor may be a parameter."""
    if any(tensor.ndim < 2 for tensor in factors):
        return None
    left, right = (_known(operands, tensor) for tensor in factors)
    outer = _broadcast(operands, made.shape, factors)
    rows = left[-2] if left is not None else resized(right[-2], made.shape[-2])
    columns = right[-1] if right is not None else _in_place_of(left[-1:], left[1:-1], made.shape[-1])
    return (*outer[:-2], rows, columns)


def _of_einsum(args: tuple, operands: list[Operand], made: Tensor) -> Axes | None:
    """Axes of an einsum, from the letters of its equation."""
    equation = args[0].replace(" ", "") if isinstance(args[0], str) else "..."
    tensors = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    terms, arrow, letters = equation.partition("->")
    if "." in equation or not arrow:
        return None
    roles: dict[str, Axis] = {}
    for term, tensor in zip(terms.split(","), tensors, strict=True):
        roles = {**dict(zip(term, _known(operands, tensor) or (), strict=False)), **roles}
    summed = [axis for letter, axis in roles.items() if letter not in letters]
    others = [axis for letter, axis in roles.items() if letter in letters]
    return tuple(
        roles[letter] if letter in roles else _in_place_of(summed, others, size)
        for letter, size in zip(letters, made.shape, strict=True)
    )


def _in_place_of(summed: Sequence[Axis], others: Sequence[Axis], size: int) -> Axis:
    """Axis of a parameter that replaces summed axes: positions if the sum mixes positions of channels, else units."""
    mixes = all(role_of(axis) == POSITION for axis in summed) and any(role_of(axis) == UNIT for axis in others)
    return ((size, POSITION if summed and mixes else UNIT),)


def _broadcast(operands: list[Operand], shape: Sequence[int], given: Sequence[Tensor]) -> Axes:
    """Axes of a broadcast: for each axis, the first operand with a length above 1 decides.

    Any other length comes from a parameter, whose axes are units, or from resizing the axis itself.
    """
    found = []
    for back, size in zip(range(-len(shape), 0), shape, strict=True):
        there = [(tensor.shape[back], axes[back]) for tensor, axes in operands if tensor.ndim >= -back]
        longer = [axis for length, axis in there if length > 1]
        of_parameter = any(tensor.ndim >= -back and tensor.shape[back] == size > 1 for tensor in given)
        known = longer or ([] if of_parameter else [axis for _, axis in there])
        found.append(resized(known[0], size) if known else ((size, UNIT),))
    return tuple(found)
