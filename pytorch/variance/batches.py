"""Split samples into batches, in a balanced order and with checked labels."""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, default_collate

from pytorch.errors import InputError

UNLABELLED = -1
"""Label of samples without a class."""

Shard = tuple[int, int]
"""Number of a shard, counted from 0, and number of shards."""

FIRST = 4
"""Number of samples by which shards are compared."""

IMAGE_KEYS, LABEL_KEYS = ("image", "images", "pixel_values"), ("label", "labels")
"""Names of images and labels in a batch that is a mapping."""


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        images: (B, C, H, W), with B at least 1.
        labels: Labels of the samples, (B,) int64 on the CPU; all ``UNLABELLED`` if there are none.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Samples:
    """Samples to measure on, batch by batch.

    Attributes:
        batches: Batches of one shard, which can be iterated over only once. Closing them stops what prepares the next
            ones.
        total: Number of samples of all shards, if known; samples whose total is known can be gone through again.
        here: Number of samples of this shard, if known.
        labels: Labels that get statistics of their own, in increasing order, if known.
        batch: Number of samples in the largest batch of any shard, if known.
        batch_count: Number of batches of the largest shard, if known; others have as many, or one less.
        digest: Hexadecimal digits that depend on all labels and on the order of all samples.
        first: Function that returns the first samples of the order of all shards, if there are any that can be read.
    """

    batches: Generator[Batch, None, None]
    total: int | None = None
    here: int | None = None
    labels: list[int] | None = None
    batch: int | None = None
    batch_count: int | None = None
    digest: str = ""
    first: Callable[[], Tensor | None] = lambda: None


@runtime_checkable
class Shardable(Protocol):
    """An iterable of batches that can be sharded.

    Attributes:
        samples: Number of samples of all batches.
        batch_size: Maximum number of samples per batch.
        digest: Hexadecimal digits that depend on the order of the samples and on their labels.
    """

    samples: int
    batch_size: int
    digest: str

    def shard(self, number: int, count: int) -> Iterable[Any]:
        """Return batches of the samples at places number, number + count, ... of the order.

        Every shard also asks for the first sample, as shard 0 of as many as there are samples.
        """


def in_batches(
    images: Tensor | Iterable[tuple[Tensor, Tensor | None]],
    labels: Tensor | None,
    batch_size: int,
    class_count: int | None,
    seed: int,
    kept: list[int] | None = None,
    shard: Shard | None = None,
) -> Samples:
    """Split samples into batches whose sizes differ by at most one, in a random order balanced by class.

    Batches of an iterable are used as they come. Shard r of W has the samples at places r, r + W, r + 2 W, ... of the
    order: each sample is in one shard, and shards beyond the number of samples are empty.

    Args:
        images: (N, C, H, W), or an iterable of (images, labels).
        labels: (N,), or None.
        batch_size: Maximum number of samples per batch.
        class_count: Number of classes, K, if known; labels must be below it.
        seed: Random seed for the sample order.
        kept: Labels that get statistics of their own; others become ``UNLABELLED``. None: all.
        shard: Shard to split; None: all samples.

    Raises:
        InputError: Shapes or labels do not fit, or an iterable is to be sharded; or, while iterating over the batches,
            images are not finite.
    """
    if isinstance(images, Mapping) or (isinstance(images, Dataset) and not isinstance(images, IterableDataset)):
        kind = type(images).__name__
        raise InputError(f"images is a {kind}, not an iterable of batches: wrap a data set in a DataLoader, or pass "
                         "tensors as images and labels")  # fmt: skip
    if not isinstance(images, (Tensor, np.ndarray)):
        if labels is not None:
            raise InputError(
                "labels must be None if images is an iterable of batches (images, labels): make a "
                "batch of single images with torch.stack(images)"
            )
        total = total_of(images)
        if shard is None:
            return Samples(_checked(images, class_count, total, kept), total, total)
        if not isinstance(images, Shardable):
            raise InputError("an iterable of batches is not split into shards, which would read all of it for each: "
                             "give images as a tensor, a numpy.memmap or the batches of a folder")  # fmt: skip
        part, (_, batch) = images.shard(*shard), _largest(images.samples, images.batch_size, shard)
        here = len(range(shard[0], images.samples, shard[1]))
        given = _checked(part, class_count, here, kept)
        if class_count is None:
            given = _without_labels(given)
        first = partial(_first, images)
        # Labels of other shards are unknown here: all have a row for samples without one.
        return Samples(given, images.samples, here, [UNLABELLED], batch, digest=images.digest, first=first)
    images = _as_tensor(images)
    _check_axes(images)
    if labels is not None and np.ndim(labels) == 1 and len(labels) != len(images):
        raise InputError(f"{len(labels)} labels for {len(images)} images")
    labels = checked_labels(labels, len(images), class_count)
    order = balanced_order(labels, seed)
    digest = hashlib.sha256(torch.cat([order, labels]).numpy()).hexdigest()[:16]
    if class_count is None and (absent := {*(kept or [])} - {*labels.tolist()}):
        raise InputError(f"class_statistics names the class '{min(absent)}', which has no samples")
    total, labels = len(order), with_statistics(labels, kept)
    first, count = shard or (0, 1)
    batch_count, batch = _largest(total, batch_size, shard)
    samples = images[order[:FIRST].to(images.device)] if total else None
    order = order[first::count]
    parts = order.tensor_split(-(-len(order) // batch_size) or 1)
    batches = (
        _finite(Batch(images[part.to(images.device, non_blocking=True)], labels[part])) for part in parts if len(part)
    )
    kinds = labels.unique().tolist()
    return Samples(batches, total, len(order), kinds, batch, batch_count, digest, lambda: samples)


def _first(batches: Shardable) -> Tensor | None:
    """First sample of an iterable: of as many shards as samples, the first has it alone. None: it cannot be read."""
    with closing(_checked(batches.shard(0, max(1, batches.samples)), None, None, [])) as only, suppress(InputError):
        return next((batch.images for batch in only), None)
    return None


def _largest(total: int, batch_size: int, shard: Shard | None) -> tuple[int, int]:
    """Number of batches of the largest shard, and of samples in its largest batch."""
    samples = -(-total // (shard or (0, 1))[1])
    count = -(-samples // batch_size)
    return count, -(-samples // (count or 1))


def with_statistics(labels: Tensor, kept: list[int] | None) -> Tensor:
    """Replace labels that get no statistics of their own by ``UNLABELLED``; ``kept`` lists the others, None: all.

    >>> with_statistics(torch.tensor([0, 1, 2, 1]), [1]).tolist()
    [-1, 1, -1, 1]
    """
    if kept is None:
        return labels
    return labels.where(torch.isin(labels, torch.tensor(kept, dtype=torch.int64)), UNLABELLED)


def total_of(batches: Iterable[Any]) -> int | None:
    """Number of samples of an iterable of batches, where it is certain; None: unknown.

    It is certain if the iterable can be gone through again and has a whole number ``samples``; or if it is a DataLoader
    that keeps every sample of a sampler of known length, as those with a function of their own to collate may not.

    >>> total_of(DataLoader([1, 2, 3], batch_size=2)), total_of(DataLoader([1, 2, 3], batch_size=2, drop_last=True))
    (3, None)
    """
    samples = getattr(batches, "samples", None)
    if isinstance(samples, Integral) and not isinstance(samples, bool) and not isinstance(batches, Iterator):
        return int(samples)
    if type(batches) is DataLoader and type(batches.batch_sampler) is BatchSampler and not batches.drop_last:
        with suppress(TypeError):  # samplers without a length, such as those of an IterableDataset
            return len(batches.sampler) if batches.collate_fn is default_collate else None
    return None


def _finite(batch: Batch) -> Batch:
    """Refuse images of unsupported dtypes, and NaN or infinite values, which would spoil all sums."""
    images = batch.images
    tokens = images.ndim < 4 and images.dtype in (torch.int32, torch.int64)
    if images.dtype != torch.uint8 and not images.is_floating_point() and not tokens:
        raise InputError(f"images are of type {images.dtype}: uint8 or floating point is needed")
    if images.is_floating_point():
        odd = int((~torch.isfinite(images)).reshape(len(images), -1).any(dim=1).sum())
        if odd:
            raise InputError(f"{odd} of {len(images)} images in a batch have NaN or infinite values")
    return batch


def _without_labels(batches: Iterable[Batch]) -> Generator[Batch, None, None]:
    """Refuse labels in shards, of which none knows all labels."""
    for batch in batches:
        if (batch.labels != UNLABELLED).any():
            raise InputError("batches with labels are shared among several processes: name the labels with classes=")
        yield batch


def _checked(
    batches: Iterable[Any], class_count: int | None, total: int | None, kept: list[int] | None
) -> Generator[Batch, None, None]:
    count = 0
    for batch in batches:
        images, labels = _images_and_labels(batch)
        images = _as_tensor(images)
        _check_axes(images)
        labels = checked_labels(labels, len(images), class_count)
        count += len(images)
        if total is not None and count > total:
            raise InputError(f"the batches have more than the {total} samples that {type(batches).__name__} announces")
        if len(images):
            yield _finite(Batch(images, with_statistics(labels, kept)))


def _images_and_labels(batch: Any) -> tuple[Any, Any]:
    """Separate a batch of an iterable; labels are None if it has none.

    >>> _images_and_labels({"pixel_values": 1, "labels": 2}), _images_and_labels((1, 2)), _images_and_labels([1])
    ((1, 2), (1, 2), (1, None))
    """
    if isinstance(batch, Mapping):
        found = [[batch[key] for key in keys if key in batch] for keys in (IMAGE_KEYS, LABEL_KEYS)]
        if [len(values) for values in found] in ([1, 0], [1, 1]):
            return found[0][0], (found[1] or [None])[0]
        raise InputError(f"a batch has the keys {', '.join(map(str, batch))}: one of {', '.join(IMAGE_KEYS)} is "
                         f"needed, and at most one of {', '.join(LABEL_KEYS)}")  # fmt: skip
    if not isinstance(batch, (tuple, list)):
        return batch, None
    if len(batch) not in (1, 2):
        raise InputError(f"a batch has {len(batch)} parts: images, (images, labels) or a mapping is needed")
    return batch[0], batch[1] if len(batch) == 2 else None


def _check_axes(images: Tensor) -> None:
    if images.ndim < 2:
        raise InputError(f"images have shape {tuple(images.shape)}: (N, C, H, W) or (N, ...) is needed")


def _as_tensor(images: Tensor | np.ndarray) -> Tensor:
    """Convert images to a tensor; an array with negative strides or another byte order is copied."""
    if isinstance(images, np.ndarray):
        images = np.ascontiguousarray(images, dtype=images.dtype.newbyteorder("="))
    if not isinstance(images, (Tensor, np.ndarray)):
        raise InputError(f"images are a {type(images).__name__}: a tensor or an array is needed")
    try:
        return torch.as_tensor(images).as_subclass(Tensor)
    except TypeError as error:
        raise InputError(f"images are of type {images.dtype}: uint8 or floating point is needed") from error


def checked_labels(labels: Tensor | None, count: int, class_count: int | None) -> Tensor:
    """Return labels as (n,) int64 on the CPU; all ``UNLABELLED`` if there are none.

    Args:
        labels: (n,) integers, or None.
        count: Number of samples, n.
        class_count: Number of classes, K, if known; labels must be below it.

    Raises:
        InputError: Labels are not integers, too few, too many, or out of range.
    """
    if labels is None or count == 0:
        return torch.full((count,), UNLABELLED)
    try:
        labels = torch.as_tensor(labels).cpu()
    except (TypeError, ValueError) as error:
        raise InputError(f"labels must be integers ({error}); name them with classes=") from error
    if labels.shape != (count,) or labels.is_floating_point() or labels.is_complex():
        found = f"labels of {count} images have shape {tuple(labels.shape)} and type {labels.dtype}"
        raise InputError(f"{found}: {count} integers are needed")
    labels = labels.long()
    highest = labels.max() if class_count is None else class_count - 1
    if labels.min() < 0 or labels.max() > highest:
        allowed = "0 or above" if class_count is None else f"in [0, {highest}]"
        raise InputError(f"labels range from {labels.min()} to {labels.max()}: they must be {allowed}")
    return labels


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """Draw a random order of the samples in which each class is spread evenly.

    The n samples of a class are shuffled, and the i-th gets a random place in the i-th of n equal parts. So the first m
    samples contain m times each class's share, to within one sample per class.

    Args:
        labels: (N,) int64 on the CPU.
        seed: Random seed; the same seed gives the same order.

    Returns:
        Permutation of the samples, (N,) int64.

    >>> order = balanced_order(torch.tensor([0] * 50 + [1] * 10), seed=0)
    >>> [int((order[start : start + 12] >= 50).sum()) for start in range(0, 60, 12)]
    [2, 2, 2, 2, 2]
    """
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        ranks = torch.randperm(len(members), generator=generator)
        places[members] = (places[members] + ranks) / len(members)
    return places.argsort()
