"""Samples in batches, their labels checked."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytorch.errors import InputError

Batches = Iterable[tuple[Tensor, Tensor | None]]

UNLABELLED = -1
"""The label of samples that have none."""


def in_batches(images: Tensor | Batches, labels: Tensor | None, batch_size: int) -> tuple[Batches, int | None]:
    """Return the batches, and the number of samples where it is known.

    Args:
        images: (N, C, H, W), or batches already.
        labels: (N,), or None.
        batch_size: Samples of each batch but the last.

    Raises:
        InputError: Shapes that do not fit.
    """
    if not isinstance(images, (Tensor, np.ndarray)):
        if labels is not None:
            raise InputError("labels must be None where images is an iterable: its batches are (images, labels)")
        return images, None
    images = torch.as_tensor(images)
    if images.ndim != 4:
        raise InputError(f"images have shape {tuple(images.shape)}: (N, C, H, W) is needed")
    if labels is not None and len(labels) != len(images):
        raise InputError(f"{len(labels)} labels for {len(images)} images")
    return _slices(images, labels, batch_size), len(images)


def _slices(images: Tensor, labels: Tensor | None, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield images[part], None if labels is None else labels[part]


def images_and_labels(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Take a batch of an iterable apart.

    Raises:
        InputError: It is no pair of images and labels.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise InputError("a batch of an iterable must be (images, labels), or (images, None) without labels")
    return batch[0], batch[1]


def checked_labels(labels: Tensor | None, count: int, class_count: int | None) -> Tensor:
    """Labels of a batch as (B,) int64 on the CPU; ``UNLABELLED`` throughout where there are none.

    Args:
        labels: (B,) integers, or None.
        count: B, at least 1.
        class_count: K, where the classes are known: labels lie below it.

    Raises:
        InputError: They are no integers, too few or too many, or out of range.
    """
    if labels is None:
        return torch.full((count,), UNLABELLED)
    try:
        labels = torch.as_tensor(labels).cpu()
    except (TypeError, ValueError) as error:
        raise InputError(f"labels must be integers ({error}); name them with classes=") from error
    if labels.shape != (count,) or labels.is_floating_point():
        raise InputError(f"labels of {count} images have shape {tuple(labels.shape)}, {labels.dtype}: (B,) integers")
    highest = labels.max() if class_count is None else class_count - 1
    if labels.min() < 0 or labels.max() > highest:
        raise InputError(f"labels reach from {labels.min()} to {labels.max()}: they must lie in 0 to {highest}")
    return labels.long()
