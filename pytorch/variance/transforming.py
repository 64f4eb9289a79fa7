"""Transforming batches, and checking on the first one that transformations do what the measure needs."""

import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch.errors import InputError, ReportedError, one_line

Transformation = Callable[[Tensor], Tensor]

CALLS = 64
"""How often a transformation that draws random numbers is called again: one may do so with a small probability."""

CLOSE = 1e-3
"""Share of the largest value by which two results of a transformation may differ; integers may differ by 1."""


class TransformationCheck:
    """Checks transformations on the images of the first batch, each once, in order.

    A result must be the same in every call and for each image alone, and not the same under all transformations.

    Args:
        images: (B, ...), of the first batch.
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images
        self._some = images[[0, 0]] if len(images) == 1 else images[: min(2, len(images) - 1)]
        self._first: Tensor | None = None
        self._vary = False
        self._state = _random_state()

    def see(self, transformation: Transformation, made: Tensor) -> None:
        """Check a transformation that has made ``made`` of the images.

        Raises:
            InputError: It is random, or what it makes of an image depends on the others.
        """
        expected = made[:1].expand_as(made[[0, 0]]) if len(made) == 1 else made[: len(self._some)]
        for _ in range(CALLS):
            again = transformation(self._some.clone())
            if not _agree(again, expected):
                if _agree(transformation(self._some.clone()), again):
                    why = "it must take each image by itself; the first axis is that of the batch"
                else:
                    why = "it is random: give it fixed parameters"
                raise InputError(f"transformation {description(transformation)} does not do the same to the images of "
                                 f"the first batch in two calls: {why} (check=False measures it)")  # fmt: skip
            before, self._state = self._state, _random_state()
            if before == self._state:
                break
        if self._first is None:
            self._first = made.clone()
        elif not self._vary:
            self._vary = made.shape != self._first.shape or not torch.equal(made, self._first)

    def finish(self) -> None:
        """Check that the transformations differ.

        Raises:
            InputError: All do the same. That nothing is transformed is a control: it is warned of.
        """
        if self._vary:
            return
        if self._first.shape == self._images.shape and torch.equal(self._first.double(), self._images.double()):
            warnings.warn("all transformations leave the images as they are, so that NV is 0", stacklevel=2)
            return
        raise InputError("all transformations do the same to the images of the first batch: do functions in a loop "
                         "share its last value? bind it, as in lambda batch, angle=angle: ... (check=False measures "
                         "them all the same)")  # fmt: skip


def transformed(
    images: Tensor, transformation: Transformation, preprocess: Transformation | None, check: TransformationCheck | None
) -> Tensor:
    """Transform and preprocess a batch.

    Raises:
        InputError: Something else than a batch of as many comes out, or what ``check`` raises.
    """
    made = _called(transformation, images.clone(), "transformation")  # which may work in place
    if check is not None:
        check.see(transformation, made)
    return made if preprocess is None else _called(preprocess, made, "preprocess")


def check_finite(
    sums: list[Tensor], images: Tensor, transformations: list[Transformation], preprocess: Transformation | None
) -> None:
    """Refuse a batch of which a transformation or ``preprocess`` has made values that are NaN or infinite.

    Args:
        sums: Of the values under each transformation, which show it.
        images: The batch.
        transformations: Those of the measurement.
        preprocess: Likewise.

    Raises:
        InputError: It has; the message says which of them.
    """
    if not sums or torch.isfinite(torch.stack(sums)).all():
        return
    for transformation in transformations:
        made = transformation(images.clone())
        for who, values in ((f"transformation {description(transformation)}", made),
                            ("preprocess", made if preprocess is None else preprocess(made))):  # fmt: skip
            odd = int((~torch.isfinite(values)).reshape(len(values), -1).any(dim=1).sum())
            if odd:
                raise InputError(f"{who} makes {odd} images of a batch of {len(images)} NaN or infinite")


def description(transformation: Transformation) -> str:
    """What a transformation calls itself, without its place in memory, which is another one in every run.

    >>> description(abs), description(lambda batch: batch)
    ('<built-in function abs>', '<function <lambda>>')
    """
    return re.sub(" at 0x[0-9a-f]+", "", str(transformation))


def _called(function: Transformation, batch: Tensor, what: str) -> Tensor:
    try:
        made = function(batch)
    except Exception as error:
        if batch.ndim == 4 or isinstance(error, ReportedError):
            raise
        raise InputError(f"{what} {description(function)} cannot take a batch of shape {tuple(batch.shape)} "
                         f"({type(error).__name__}: {one_line(error, longest=200)})") from error  # fmt: skip
    if not isinstance(made, Tensor) or made.ndim == 0 or len(made) != len(batch):
        found = f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{what} {description(function)} must make a batch of {len(batch)} samples of one, and made "
                         f"{found}")  # fmt: skip
    return made


def _agree(one: Any, other: Tensor) -> bool:
    if not isinstance(one, Tensor) or one.shape != other.shape or one.dtype != other.dtype:
        return False
    if torch.equal(one, other):
        return True
    least = 0 if one.is_floating_point() else 1
    one, other = one.double(), other.double()
    allowed = max(CLOSE * float(other.abs().max()), least)
    return bool((((one - other).abs() <= allowed) | (one.isnan() & other.isnan())).all())


def _random_state() -> tuple[Any, ...]:
    """Where the usual generators of random numbers stand."""
    numpy = np.random.get_state()
    return bytes(torch.get_rng_state().numpy()), random.getstate(), bytes(numpy[1]), numpy[2]
