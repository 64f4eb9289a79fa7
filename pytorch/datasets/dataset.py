"""What a data set is: two splits of labelled images, and class names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError

SIZE = 32
"""Height and width of every image, in pixels."""


@dataclass(frozen=True)
class Split:
    """Labelled images.

    Attributes:
        images: (N, C, 32, 32) uint8.
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Source:
    """Where the samples of a data set come from; pairs are for the training split and the test split.

    Attributes:
        classes: Names of the classes.
        labels: (N,) int64 per split.
        read: Per split, a function from indices, (n,) int64, to their images, (n, C, 32, 32) uint8.
        fingerprint: Distinguishes data sets of the same name; empty if the name suffices.
    """

    classes: list[str]
    labels: tuple[Tensor, Tensor]
    read: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
    fingerprint: str = ""


@dataclass(frozen=True)
class Dataset:
    """A training and a test split; the images of a split are read on first use.

    Attributes:
        name: Name under which results are kept.
        source: Where the samples come from.
        samples: Maximum number of samples per split, balanced over the classes; None: all.
        seed: Random seed for the choice of samples.
        test_samples: Maximum number of test samples, likewise; None: as ``samples``.
    """

    name: str
    source: Source
    samples: int | None
    seed: int
    test_samples: int | None = None

    @property
    def classes(self) -> list[str]:
        """Names of the classes; a label is an index into them."""
        return self.source.classes

    @cached_property
    def train(self) -> Split:
        """The split for training."""
        return self._split(0, self.samples)

    @cached_property
    def test(self) -> Split:
        """The split for evaluating and measuring."""
        return self._split(1, self.test_samples or self.samples)

    @cached_property
    def normalization(self) -> Normalization:
        """The constants of the training split."""
        return Normalization.of(self.train.images)

    def measured(self, counts: Sequence[int], seed: int) -> Split:
        """The test samples of a measurement that had ``counts`` samples of each class, drawn with ``seed``."""
        return self._part(1, first_of_classes(self.source.labels[1], counts, seed))

    def _split(self, index: int, samples: int | None) -> Split:
        return self._part(index, balanced_subset(self.source.labels[index], len(self.classes), samples, self.seed))

    def _part(self, index: int, chosen: Tensor) -> Split:
        return Split(self.source.read[index](chosen), self.source.labels[index][chosen])


def balanced_subset(labels: Tensor, classes: int, samples: int | None, seed: int) -> Tensor:
    """Choose at most ``samples`` samples, equally many per class, or one more of the first classes.

    Args:
        labels: (N,) int64.
        classes: Number of classes, K; each needs at least one sample.
        samples: Number of samples; None: all. Classes with too few samples give fewer.
        seed: Random seed; the same seed draws the same samples.

    Returns:
        Indices of the samples in increasing order, (n,) int64.

    Raises:
        InputError: ``samples`` is below the number of classes.

    >>> balanced_subset(torch.tensor([0, 1, 0, 1, 0, 1]), classes=2, samples=4, seed=0).numel()
    4
    """
    if samples is None:
        return torch.arange(len(labels))
    if samples < classes:
        raise InputError(f"{samples} samples for {classes} classes: use at least {classes}, one per class")
    return first_of_classes(labels, _shares(classes, samples), seed)


def first_of_classes(labels: Tensor, counts: Sequence[int], seed: int) -> Tensor:
    """Choose so many samples of each class, the first of a random order; returns indices as ``balanced_subset``."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = [order[labels[order] == label][:count] for label, count in enumerate(counts)]
    return torch.cat(chosen).sort().values


def subset_size(counts: Sequence[int], samples: int) -> int:
    """How many samples ``balanced_subset`` chooses from classes of these sizes.

    >>> subset_size([5, 1, 5], 6)
    5
    """
    return sum(map(min, counts, _shares(len(counts), samples)))


def _shares(classes: int, samples: int) -> list[int]:
    share, extra = divmod(samples, classes)
    return [share + (label < extra) for label in range(classes)]
