"""The sums from which both variances of every class follow, fed batch by batch and mergeable."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from pytorch.variance.moments import Moments, sum_by_group


class VarianceAccumulator:
    """Transformation and sample variance of U units, over T transformations and any number of samples.

    For every batch: ``begin`` with its labels, ``add`` the activations under each transformation in turn, ``end``.
    The state is (2 T + 1)·K·U numbers, the batch under way 2·B·U and some temporary ones; neither grows with the
    number of samples. Shards of the samples, accumulated apart, are merged by ``merge``.

    Attributes:
        labels: The label of each row of the state, in the order in which they were met.
        over_samples: For each transformation the moments over samples, (K, U): a row per class.
        dispersion_sum: (K, U) float64, the sum over samples of their dispersion over the transformations.

    Args:
        transformations: T, at least 2.
        units: U.
        dispersion: ``"std"`` or ``"variance"``, both with ddof = 1.
        labels: Labels to make room for from the start, in this order; others get theirs when they are met.
        device: Where the state lives.
    """

    def __init__(
        self,
        transformations: int,
        units: int,
        dispersion: str = "std",
        labels: Iterable[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.labels: list[int] = []
        self.over_samples = [Moments.empty(0, units, device=device) for _ in range(transformations)]
        self.dispersion_sum = torch.zeros(0, units, dtype=torch.float64, device=device)
        self._dispersion = dispersion
        self._device = device
        self._units = units
        self._reserve(list(labels))

    @property
    def counts(self) -> Tensor:
        """Number of samples of each class, (K,) float64."""
        return self.over_samples[0].count.squeeze(1)

    def begin(self, labels: Tensor) -> None:
        """Open a batch.

        Args:
            labels: (B,) integers, the class of each sample.
        """
        values = labels.tolist()
        self._reserve(values)
        rows = [self.labels.index(value) for value in values]
        self._groups = torch.tensor(rows, dtype=torch.int64, device=self._device)
        self._over_transformations = Moments.empty(len(values), self._units, device=self._device)
        self._next = 0

    def add(self, activations: Tensor) -> None:
        """Take in the activations of the batch under the next transformation, (B, U)."""
        self._over_transformations.update(activations)
        self.over_samples[self._next].update_groups(activations, self._groups)
        self._next += 1

    def end(self) -> None:
        """Close the batch: fold the dispersion of each of its samples into its class."""
        dispersion = self._over_transformations.dispersion(self._dispersion)
        self.dispersion_sum += sum_by_group(dispersion, self._groups, len(self.labels))

    def merge(self, other: "VarianceAccumulator") -> None:
        """Take in all samples of ``other``, an accumulator of the same units and transformations."""
        self._reserve(other.labels)
        rows = [self.labels.index(label) for label in other.labels]
        for mine, its in zip(self.over_samples, other.over_samples, strict=True):
            part = Moments(mine.count[rows], mine.mean[rows], mine.m2[rows])
            part.merge(its)
            mine.count[rows], mine.mean[rows], mine.m2[rows] = part.count, part.mean, part.m2
        self.dispersion_sum[rows] += other.dispersion_sum

    def _reserve(self, labels: list[int]) -> None:
        """Make room for the labels that are new."""
        new = sorted(set(labels) - set(self.labels))
        if not new:
            return
        self.labels += new
        for moments in self.over_samples:
            empty = Moments.empty(len(new), self._units, device=self._device)
            moments.count = torch.cat([moments.count, empty.count])
            moments.mean = torch.cat([moments.mean, empty.mean])
            moments.m2 = torch.cat([moments.m2, empty.m2])
        self.dispersion_sum = torch.cat([self.dispersion_sum, empty.mean])

    def transformation_variance(self) -> tuple[np.ndarray, np.ndarray]:
        """TV: the mean over samples of the dispersion over transformations.

        Returns:
            Of all samples (U,), and of each class (K, U) in the order of ``labels``; float64.
        """
        of_classes = self.dispersion_sum / self.counts.unsqueeze(1)
        of_all = self.dispersion_sum.sum(dim=0) / self.counts.sum()
        return of_all.cpu().numpy(), of_classes.cpu().numpy()

    def sample_variance(self) -> tuple[np.ndarray, np.ndarray]:
        """SV: the mean over transformations of the dispersion over samples.

        Returns:
            As ``transformation_variance``. NaN for a class of one sample, whose dispersion is undefined.
        """
        steps = len(self.over_samples)
        of_classes = sum(moments.dispersion(self._dispersion) for moments in self.over_samples) / steps
        of_all = sum(moments.pooled().dispersion(self._dispersion) for moments in self.over_samples) / steps
        return of_all.cpu().numpy(), of_classes.cpu().numpy()
