"""Mean and dispersion of streams of observations, in one pass, mergeable without loss.

The state is (count, mean, m2), m2 being the sum of squared deviations from the mean. A sum of squares is only ever
taken of deviations from a value of the stream itself, or from its mean so far, never of the observations, whose
squares lose every digit once the mean is large beside the spread.

Sources:
    T. F. Chan, G. H. Golub, R. J. LeVeque (1983), Algorithms for computing the sample variance, eq. 1.7 (shifted
    data) and 2.1 (merging).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

DISPERSIONS: dict[str, Callable[[Tensor], Tensor]] = {"std": Tensor.sqrt_, "variance": lambda variance: variance}
"""What a dispersion is, as a function of the variance, in its place."""


@dataclass(frozen=True)
class Groups:
    """To which group each observation of a batch belongs; only the groups that occur in the batch are listed.

    Attributes:
        present: (G,) int64 on the CPU, the rows of the state that the batch brings observations of, each once.
        sizes: (G,) int64 on the CPU, the number of observations that the batch has of each.
        rows: ``present``, where the observations are.
        members: (B,) int64, for each observation the position of its row in ``rows``.
        counts: (G, 1) float64, ``sizes``, where the observations are.
        new: For each position whose row had no observation before, that position and one of its observations.
    """

    present: Tensor
    sizes: Tensor
    rows: Tensor
    members: Tensor
    counts: Tensor
    new: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, rows: Tensor, seen: Tensor, device: torch.device | str = "cpu") -> "Groups":
        """Sort the observations of a batch.

        Everything is decided on the CPU, so that an accelerator is never waited for.

        Args:
            rows: (B,) int64 on the CPU, the row of the state of each observation.
            seen: (K,), how many observations each row of the state has had.
            device: Where the observations are.

        >>> Groups.of(torch.tensor([4, 1, 4]), seen=torch.zeros(5)).counts.flatten().tolist()
        [1.0, 2.0]
        """

        def there(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=True)

        present, members, sizes = rows.unique(return_inverse=True, return_counts=True)
        first = torch.empty_like(present).scatter_(0, members, torch.arange(len(rows)))
        unseen = (seen[present] == 0).nonzero().flatten()
        new = (there(unseen), there(first[unseen])) if len(unseen) else None
        counts = there(sizes.double().unsqueeze(1))
        return cls(present, sizes, there(present), there(members), counts, new)

    def as_one(self) -> "Groups":
        """Take all observations for one group, whose row, the only one, has had observations before."""
        device = self.rows.device
        return Groups.of(torch.zeros(len(self.members), dtype=torch.int64), torch.ones(1), device)

    def sum(self, values: Tensor) -> Tensor:
        """Sum the rows of (B, U) group by group, (G, U)."""
        if len(self.rows) == 1:
            return values.sum(dim=0, keepdim=True)
        return values.new_zeros(len(self.rows), values.shape[1]).index_add_(0, self.members, values)

    def deviations(self, values: Tensor, centres: Tensor) -> Tensor:
        """Subtract from each observation, (B, U), the centre of its group, (G, U)."""
        spread = self.spread(centres)
        return torch.sub(values, spread, out=spread) if len(spread) == len(values) != 1 else values - spread

    def spread(self, values: Tensor) -> Tensor:
        """Give each observation the row of its group, (B, U) of (G, U); a single row is left to broadcast, (1, U)."""
        return values if len(self.rows) == 1 else values.index_select(0, self.members)


@dataclass
class Moments:
    """Count, mean and m2 of the observations of K groups, for each of U units.

    A constant stream has m2 = 0 exactly, whatever its value and however it is split or merged: that is what
    tells a unit that never changes from one that hardly does.

    Attributes:
        count: Observations so far, (K, 1) float64.
        mean: Their mean, (K, U) float64.
        m2: The sum of their squared deviations from ``mean``, (K, U) float64.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    @classmethod
    def empty(cls, groups: int, units: int, device: torch.device | str = "cpu") -> "Moments":
        """Moments of no observation."""

        def zeros(width: int) -> Tensor:
            return torch.zeros(groups, width, dtype=torch.float64, device=device)

        return cls(zeros(1), zeros(units), zeros(units))

    def update(self, observations: Tensor, groups: Groups) -> "Update":
        """Take in a batch of observations, each belonging to one group (a row of the state).

        Deviations are taken from the mean so far, or for a row seen for the first time from one of its
        observations. After n0 observations, n more with the deviations d, and d̄ their mean, make of m2

            m2 + Σ d² - n² d̄² / (n0 + n)

        Args:
            observations: (B, U) float64.
            groups: The row of each.

        >>> moments = Moments.empty(2, 1)
        >>> batch = torch.tensor([[1.0], [2.0], [9.0]], dtype=torch.float64)
        >>> _ = moments.update(batch, Groups.of(torch.tensor([0, 0, 1]), seen=torch.zeros(2)))
        >>> moments.mean.squeeze(1).tolist()
        [1.5, 9.0]
        """
        part = self.opened(observations, groups)
        deviations = groups.deviations(observations, part.mean)
        kept = deviations.float()
        reference = part.mean.clone()
        sums = groups.sum(deviations)
        part = self.taken(part, sums, groups.sum(deviations.square_()), groups)
        return Update(part, kept, reference)

    def opened(self, observations: Tensor, groups: Groups) -> "Moments":
        """The rows of the groups of a batch, which an observation is the mean of where there was none before.

        These moments themselves, if they are all rows.
        """
        part = self if len(groups.present) == len(self.mean) else self.select(groups.rows)
        if groups.new is not None:
            positions, first = groups.new
            part.mean.index_copy_(0, positions, observations.index_select(0, first).to(part.mean.dtype))
        return part

    def taken(self, part: "Moments", sums: Tensor, squares: Tensor, groups: Groups) -> "Moments":
        """Take in a batch by its sums.

        Args:
            part: What ``opened`` returned.
            sums: (G, U) float64, of deviations from the means of ``part``; they are used up.
            squares: (G, U) float64, of their squares; they are used up.
            groups: Of the batch.

        Returns:
            ``part``, the batch included.
        """
        shift = sums.div_(groups.counts)
        share = groups.counts / (part.count + groups.counts)
        more = squares.addcmul_(shift.square(), groups.counts * share, value=-1).clamp_(min=0)
        part._combine(groups.counts, shift, more)
        if part is not self:
            self.replace(groups.rows, part)
        return part

    def select(self, rows: Tensor) -> "Moments":
        """Copy some rows."""
        return Moments(*(part.index_select(0, rows) for part in (self.count, self.mean, self.m2)))

    def replace(self, rows: Tensor, part: "Moments") -> None:
        """Put ``part`` in the place of some rows."""
        self.count.index_copy_(0, rows, part.count)
        self.mean.index_copy_(0, rows, part.mean)
        self.m2.index_copy_(0, rows, part.m2)

    def append(self, rows: int) -> None:
        """Add rows without observations."""
        for name in ("count", "mean", "m2"):
            setattr(self, name, with_more_rows(getattr(self, name), rows))

    def merge(self, other: "Moments") -> None:
        """Take in the observations of ``other`` as if they had been observed here (Chan, Golub & LeVeque).

        >>> left, right = Moments.empty(1, 1), Moments.empty(1, 1)
        >>> for moments, value in ((left, 1.0), (right, 3.0)):
        ...     group = Groups.of(torch.tensor([0]), seen=torch.zeros(1))
        ...     _ = moments.update(torch.tensor([[value]], dtype=torch.float64), group)
        >>> left.merge(right)
        >>> left.mean.item(), left.variance().item()
        (2.0, 2.0)
        """
        shift = other.mean - self.mean
        share = other.count / (self.count + other.count).clamp(min=1)
        self._combine(other.count, shift, torch.addcmul(other.m2, shift.square(), self.count * share))

    def _combine(self, count: Tensor, shift: Tensor, more: Tensor) -> None:
        """Take in observations whose mean lies ``shift`` above this one, and which add ``more`` to m2."""
        total = self.count + count
        self.m2 += more
        # In place: of a state that moved, the old places would stay as gaps.
        self.mean.addcmul_(shift, count / total.clamp(min=1))
        self.count = total

    def pooled(self) -> "Moments":
        """Moments of all groups taken together, (1, U).

        >>> moments = Moments(torch.ones(2, 1), torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
        >>> moments.pooled().mean.item(), moments.pooled().m2.item()
        (2.0, 2.0)
        """
        reference = self.mean.index_select(0, self.count.flatten().argmax().unsqueeze(0))
        total = self.count.sum().clamp(min=1)
        weights = (self.count / total).T
        distance = self.mean - reference
        shift = weights @ distance
        m2 = self.m2.sum(dim=0, keepdim=True).addcmul_(weights @ (distance - shift).square_(), total)
        return Moments(self.count.sum(dim=0, keepdim=True), reference + shift, m2)

    def variance(self, ddof: int = 1) -> Tensor:
        """Return m2 / (count - ddof); NaN where there are no more than ``ddof`` observations."""
        freedom = self.count - ddof
        return self.m2 / torch.where(freedom > 0, freedom, torch.nan)

    def dispersion(self, kind: str) -> Tensor:
        """Dispersion of the observations, ddof = 1.

        Args:
            kind: A key of ``DISPERSIONS``.
        """
        return DISPERSIONS[kind](self.variance(ddof=1))


def with_more_rows(values: Tensor, rows: int) -> Tensor:
    """Add rows of zeros below (K, U); where there are none yet without a copy, which would take memory twice."""
    more = values.new_zeros(rows, values.shape[1])
    return torch.cat([values, more]) if len(values) else more


@dataclass(frozen=True)
class Update:
    """What an update leaves for those who want to know how its observations lie about the new mean.

    Attributes:
        moments: Of the rows that the batch has observations of, the batch included.
        deviations: (B, U) float32, of the observations from ``reference``.
        reference: (G, U) float64, the means before.
    """

    moments: Moments
    deviations: Tensor
    reference: Tensor
