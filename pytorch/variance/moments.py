"""Mean and dispersion of streams of observations, in one pass, mergeable without loss.

The state is (count, mean, m2), m2 being the sum of squared deviations from the mean. It never holds a sum of
squares, whose difference from the squared sum loses every digit once the mean is large beside the spread.

Sources:
    B. P. Welford (1962), Note on a method for calculating corrected sums of squares and products.
    T. F. Chan, G. H. Golub, R. J. LeVeque (1983), Algorithms for computing the sample variance, eq. 2.1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

DISPERSIONS: dict[str, Callable[[Tensor], Tensor]] = {"std": torch.sqrt, "variance": torch.clone}
"""What a dispersion is, as a function of the variance."""


@dataclass
class Moments:
    """Count, mean and m2 of a stream of observations, for every entry of an array.

    A constant stream has m2 = 0 exactly, whatever its value and however it is split or merged: that is what
    tells a unit that never changes from one that hardly does.

    Attributes:
        count: Observations so far, float64, of a shape that broadcasts with ``mean``.
        mean: Their mean, float64.
        m2: The sum of their squared deviations from ``mean``, float64.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    @classmethod
    def empty(cls, *shape: int, device: torch.device | str = "cpu") -> "Moments":
        """Moments of no observation; the entries along the last axis share one count.

        >>> Moments.empty(10, 512).count.shape
        torch.Size([10, 1])
        """

        def zeros(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.float64, device=device)

        return cls(zeros(*shape[:-1], 1), zeros(*shape), zeros(*shape))

    def update(self, observation: Tensor) -> None:
        """Take in one observation for every entry (Welford).

        Args:
            observation: Array of the shape of ``mean``.

        >>> moments = Moments.empty(2)
        >>> for observation in ([1.0, 5.0], [3.0, 5.0]):
        ...     moments.update(torch.tensor(observation))
        >>> moments.mean.tolist(), moments.variance().tolist()
        ([2.0, 5.0], [2.0, 0.0])
        """
        self.count += 1
        deviation = observation - self.mean
        self.mean += deviation / self.count
        self.m2 += deviation * (observation - self.mean)

    def update_groups(self, observations: Tensor, groups: Tensor) -> None:
        """Take in a batch of observations, each belonging to one group (a row of the state).

        Deviations are taken from the mean so far, or for a group seen for the first time from one of its
        observations, so that the sums that follow are of small numbers; the squares are then taken about the
        mean of the batch.

        Args:
            observations: (B, U); the state is (K, U).
            groups: (B,) int64, the group of each observation, below K.

        >>> moments = Moments.empty(2, 1)
        >>> moments.update_groups(torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([0, 0, 1]))
        >>> moments.mean.squeeze(1).tolist()
        [1.5, 9.0]
        """
        count = torch.bincount(groups, minlength=len(self.mean)).to(self.count.dtype).unsqueeze(1)
        first_seen = ((self.count == 0) & (count > 0)).squeeze(1)
        if first_seen.any():
            positions = torch.arange(len(groups), device=groups.device)
            representative = groups.new_zeros(len(self.mean)).scatter_(0, groups, positions)
            self.mean[first_seen] = observations[representative[first_seen]].to(self.mean.dtype)
        deviations = observations - self.mean[groups]
        shift = sum_by_group(deviations, groups, len(self.mean)) / count.clamp(min=1)
        deviations -= shift[groups]
        self._combine(count, shift, sum_by_group(deviations.square_(), groups, len(self.mean)))

    def merge(self, other: "Moments") -> None:
        """Take in the observations of ``other`` as if they had been observed here (Chan, Golub & LeVeque).

        >>> left, right = Moments.empty(1), Moments.empty(1)
        >>> left.update(torch.tensor([1.0]))
        >>> right.update(torch.tensor([3.0]))
        >>> left.merge(right)
        >>> left.mean.item(), left.variance().item()
        (2.0, 2.0)
        """
        self._combine(other.count, other.mean - self.mean, other.m2)

    def _combine(self, count: Tensor, shift: Tensor, m2: Tensor) -> None:
        """Merge moments whose mean lies ``shift`` above this one's."""
        total = self.count + count
        fraction = count / total.clamp(min=1)
        self.m2 += m2 + shift.square() * (self.count * fraction)
        self.mean += shift * fraction
        self.count = total

    def pooled(self) -> "Moments":
        """Moments of all groups (the first axis) taken together.

        >>> moments = Moments.empty(2, 1)
        >>> moments.update_groups(torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([0, 0, 1]))
        >>> moments.pooled().mean.item()
        4.0
        """
        whole = Moments.empty(*self.mean.shape[1:], device=self.mean.device)
        for count, mean, m2 in zip(self.count, self.mean, self.m2, strict=True):
            whole.merge(Moments(count, mean, m2))
        return whole

    def variance(self, ddof: int = 1) -> Tensor:
        """Return m2 / (count - ddof); NaN where there are no more than ``ddof`` observations."""
        freedom = self.count - ddof
        return torch.where(freedom > 0, self.m2 / freedom, torch.nan)

    def dispersion(self, kind: str) -> Tensor:
        """Dispersion of the observations, ddof = 1.

        Args:
            kind: A key of ``DISPERSIONS``.
        """
        return DISPERSIONS[kind](self.variance(ddof=1))


def sum_by_group(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """Sum the rows of each group.

    Args:
        values: (B, U).
        groups: (B,) int64, below ``count``.
        count: K, the number of groups.

    Returns:
        (K, U); zeros for a group without rows.
    """
    return values.new_zeros(count, values.shape[1]).index_add_(0, groups, values)
