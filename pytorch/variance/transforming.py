"""Transforming batches, and checking on the first batch that the transformations are deterministic."""

import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch.errors import InputError, ReportedError, one_line
from pytorch.files.checked_fields import LONGEST_NAME

Transformation = Callable[[Tensor], Tensor]

CALLS = 64
"""Number of repeated calls of a transformation that draws random numbers: it may change images only rarely."""

CLOSE = 1e-3
"""Largest allowed difference of two results, relative to the largest value; integers may differ by 1."""


class TransformationCheck:
    """Checks each transformation on the first batch.

    A transformation must give an image the same result in every call and in every batch. Transformations must differ.

    Args:
        images: Images of the first batch, (B, ...).
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images
        self._some = images[[0, 0]] if len(images) == 1 else images[: min(2, len(images) - 1)]
        self._first: Tensor | None = None
        self._vary = False
        self._state = _random_state()

    def see(self, transformation: Transformation, made: Tensor) -> None:
        """Check the next transformation, whose result for the images is ``made``.

        Raises:
            InputError: It is random, or its result for an image depends on the other images.
        """
        expected = made[:1].expand_as(made[[0, 0]]) if len(made) == 1 else made[: len(self._some)]
        for _ in range(CALLS):
            again = transformation(self._some.clone())
            if not _agree(again, expected):
                if _agree(transformation(self._some.clone()), again):
                    why = "it must treat each image separately; the first axis is the batch"
                else:
                    why = "it is random: give it fixed parameters"
                raise InputError(f"transformation {description(transformation)} gives the images of the first batch "
                                 f"different results in two calls: {why} (check=False skips this check)")  # fmt: skip
            before, self._state = self._state, _random_state()
            if before == self._state:
                break
        if self._first is None:
            self._first = made.clone()
        elif not self._vary:
            self._vary = made.shape != self._first.shape or not torch.equal(made, self._first)

    def finish(self) -> None:
        """Check that the transformations differ.

        If all are the identity, which is a useful control, the check only warns.

        Raises:
            InputError: All give the same result.
        """
        if self._vary:
            return
        if self._first.shape == self._images.shape and torch.equal(self._first.double(), self._images.double()):
            warnings.warn("all transformations leave the images as they are, so that NV is 0", stacklevel=2)
            return
        raise InputError("all transformations give the images of the first batch the same result: do functions made in "
                         "a loop share its last value? Bind it, as in lambda batch, angle=angle: ... (check=False "
                         "skips this check)")  # fmt: skip


def transformed(
    images: Tensor, transformation: Transformation, preprocess: Transformation | None, check: TransformationCheck | None
) -> Tensor:
    """Transform and preprocess a batch.

    Raises:
        InputError: The result is not a batch of the same size, or ``check`` raises it.
    """
    made = _called(transformation, images.clone(), "transformation")  # a transformation may work in place
    if check is not None:
        check.see(transformation, made)
    return made if preprocess is None else _called(preprocess, made, "preprocess")


def check_finite(
    sums: list[Tensor], images: Tensor, transformations: list[Transformation], preprocess: Transformation | None
) -> None:
    """Refuse a batch for which a transformation or ``preprocess`` has produced NaN or infinite values.

    Args:
        sums: Sum of the values under each transformation; it is finite only if all of them are.
        images: Images of the batch.
        transformations: Transformations of the measurement.
        preprocess: Function applied after each transformation, or None.

    Raises:
        InputError: Some values are not finite; the message says which function produced them.
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
    """Text of a transformation, cut if long, without its memory address, which differs in every run.

    >>> description(abs), description(lambda batch: batch)
    ('<built-in function abs>', '<function <lambda>>')
    """
    text = re.sub(" at 0x[0-9a-f]+", "", str(transformation)) or repr(transformation)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def advice(batch: Tensor) -> str:
    """What to do if something does not take a batch with the axes of a single image.

    >>> advice(torch.ones(2, 1, 4, 4)), advice(torch.ones(1, 4, 4))
    ('', ': if it is a single image, make a batch with torch.stack(images)')
    """
    return ": if it is a single image, make a batch with torch.stack(images)" if batch.ndim == 3 else ""


def _called(function: Transformation, batch: Tensor, what: str) -> Tensor:
    try:
        made = function(batch)
    except Exception as error:
        if batch.ndim == 4 or isinstance(error, ReportedError):
            raise
        raise InputError(f"{what} {description(function)} cannot take a batch of shape {tuple(batch.shape)} "
                         f"({type(error).__name__}: {one_line(error, longest=200)}){advice(batch)}"
                         ) from error  # fmt: skip
    if not isinstance(made, Tensor) or made.ndim == 0 or len(made) != len(batch):
        found = f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{what} {description(function)} must return a batch of {len(batch)} samples, and returned "
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
    """State of the random number generators of torch, Python and NumPy."""
    numpy = np.random.get_state()
    return bytes(torch.get_rng_state().numpy()), random.getstate(), bytes(numpy[1]), numpy[2]
