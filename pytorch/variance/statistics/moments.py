"""Mean and dispersion of streams of observations, in one pass and mergeable without loss.

The state is (count, mean, m2), where m2 is the sum of squared deviations from the mean. Only deviations are squared,
taken from an observation of the stream or from its mean so far. Squares of the observations themselves would lose every
digit once the mean is large compared with the spread.

Sources:
    T. F. Chan, G. H. Golub, R. J. LeVeque (1983), Algorithms for computing the sample variance, eq. 1.7 (shifted
    data) and 2.1 (merging).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

DISPERSIONS: dict[str, Callable[[Tensor], Tensor]] = {"std": Tensor.sqrt_, "variance": lambda variance: variance}
"""Each dispersion as a function of the variance, in place."""


@dataclass(frozen=True)
class Groups:
    """Group of each observation of a batch; lists only groups that occur in the batch.

    Attributes:
        present: Rows of the state with observations in the batch, each once, (G,) int64 on the CPU.
        sizes: Number of observations of each such row in the batch, (G,) int64 on the CPU.
        rows: ``present`` on the device of the observations.
        members: Position in ``rows`` of each observation's row, (B,) int64.
        counts: ``sizes`` on the device of the observations, (G, 1) float64.
        new: Positions of the rows without earlier observations, and the index of one observation for each; None if
            there are none.
    """

    present: Tensor
    sizes: Tensor
    rows: Tensor
    members: Tensor
    counts: Tensor
    new: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, rows: Tensor, seen: Tensor, device: torch.device | str = "cpu") -> "Groups":
        """Group the observations of a batch.

        All decisions are made on the CPU, so that it never waits for an accelerator.

        Args:
            rows: Row of the state of each observation, (B,) int64 on the CPU.
            seen: Number of earlier observations of each row of the state, (K,).
            device: Device of the observations.

        >>> Groups.of(torch.tensor([4, 1, 4]), seen=torch.zeros(5)).counts.flatten().tolist()
        [1.0, 2.0]
        """

        def moved(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=True)

        present, members, sizes = rows.unique(return_inverse=True, return_counts=True)
        first = torch.empty_like(present).scatter_(0, members, torch.arange(len(rows)))
        unseen = (seen[present] == 0).nonzero().flatten()
        new = (moved(unseen), moved(first[unseen])) if len(unseen) else None
        counts = moved(sizes.double().unsqueeze(1))
        return cls(present, sizes, moved(present), moved(members), counts, new)

    @cached_property
    def by_row(self) -> tuple[Tensor, Tensor]:
        """Indices of the observations, sorted by row, (B,); and where each row starts there, and the last ends."""
        return self.members.argsort(stable=True), starts_of(self.sizes, self.members.device)

    def as_one(self) -> "Groups":
        """Treat all observations as one group, with a single row that already has observations."""
        device = self.rows.device
        return Groups.of(torch.zeros(len(self.members), dtype=torch.int64), torch.ones(1), device)

    def sum(self, values: Tensor) -> Tensor:
        """Sum the rows of (B, U) within each group, giving (G, U)."""
        if len(self.rows) == 1:
            return values.sum(dim=0, keepdim=True)
        return values.new_zeros(len(self.rows), values.shape[1]).index_add_(0, self.members, values)

    def deviations(self, values: Tensor, centres: Tensor) -> Tensor:
        """Subtract the centre of its group, (G, U), from each observation, (B, U)."""
        spread = self.spread(centres)
        return torch.sub(values, spread, out=spread) if len(spread) == len(values) != 1 else values - spread

    def spread(self, values: Tensor) -> Tensor:
        """Repeat each group's row, (G, U), for its observations, (B, U); a single row, (1, U), is left to broadcast."""
        return values if len(self.rows) == 1 else values.index_select(0, self.members)


@dataclass
class Moments:
    """Count, mean and m2 of the observations of K groups, for each of U units.

    A constant stream has m2 = 0 exactly, whatever its value and however it is split or merged. This distinguishes units
    that never change from those that hardly change.

    Attributes:
        count: Number of observations so far, (K, 1) float64.
        mean: Mean of the observations, (K, U) float64.
        m2: Sum of squared deviations from ``mean``, (K, U) float64.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    @classmethod
    def empty(cls, groups: int, units: int, device: torch.device | str = "cpu") -> "Moments":
        """Moments without observations."""

        def zeros(width: int) -> Tensor:
            return torch.zeros(groups, width, dtype=torch.float64, device=device)

        return cls(zeros(1), zeros(units), zeros(units))

    def update(self, observations: Tensor, groups: Groups) -> "Update":
        """Add a batch of observations, each belonging to one group (a row of the state).

        Deviations d are taken from the mean so far or, in a new row, from one of its observations. After n0
        observations, n new ones with mean deviation d̄ change m2 to

            m2 + Σ d² - n² d̄² / (n0 + n)

        Args:
            observations: (B, U) float64.
            groups: Group of each observation.

        >>> moments = Moments.empty(2, 1)
        >>> batch = torch.tensor([[1.0], [2.0], [9.0]], dtype=torch.float64)
        >>> _ = moments.update(batch, Groups.of(torch.tensor([0, 0, 1]), seen=torch.zeros(2)))
        >>> moments.mean.squeeze(1).tolist()
        [1.5, 9.0]
        """
        part = self.opened(observations, groups)
        deviations = groups.deviations(observations, part.mean)
        rounded = deviations.float()
        reference = part.mean.clone()
        sums = groups.sum(deviations)
        part = self.taken(part, sums, groups.sum(deviations.square_()), groups)
        return Update(part, rounded, reference)

    def opened(self, observations: Tensor, groups: Groups) -> "Moments":
        """Select the rows of the groups of a batch; a new row gets one of its observations as mean.

        Returns these moments themselves if the batch has observations of every row.
        """
        part = self if len(groups.present) == len(self.mean) else self.select(groups.rows)
        if groups.new is not None:
            positions, first = groups.new
            part.mean.index_copy_(0, positions, observations.index_select(0, first).to(part.mean.dtype))
        return part

    def taken(self, part: "Moments", sums: Tensor, squares: Tensor, groups: Groups) -> "Moments":
        """Add a batch, given its sums.

        Args:
            part: Rows returned by ``opened``.
            sums: Sums of deviations from the means of ``part``, (G, U) float64; overwritten.
            squares: Sums of their squares, (G, U) float64; overwritten.
            groups: Groups of the batch.

        Returns:
            ``part``, now including the batch.
        """
        shift = sums.div_(groups.counts)
        share = groups.counts / (part.count + groups.counts)
        more = squares.addcmul_(shift.square(), groups.counts * share, value=-1).clamp_(min=0)
        part._combine(groups.counts, shift, more)
        if part is not self:
            self.replace(groups.rows, part)
        return part

    def select(self, rows: Tensor) -> "Moments":
        """Copy the given rows."""
        return Moments(*(part.index_select(0, rows) for part in (self.count, self.mean, self.m2)))

    def replace(self, rows: Tensor, part: "Moments") -> None:
        """Replace the given rows with ``part``."""
        self.count.index_copy_(0, rows, part.count)
        self.mean.index_copy_(0, rows, part.mean)
        self.m2.index_copy_(0, rows, part.m2)

    def append(self, rows: int) -> None:
        """Add rows without observations."""
        for name in ("count", "mean", "m2"):
            setattr(self, name, with_more_rows(getattr(self, name), rows))

    def merge(self, other: "Moments") -> None:
        """Add the observations of ``other`` as if they had been observed here (Chan, Golub & LeVeque).

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
        """Add observations whose mean is ``shift`` above the current one and that add ``more`` to m2."""
        total = self.count + count
        self.m2 += more
        # In place: a state that moved would leave gaps in memory.
        self.mean.addcmul_(shift, count / total.clamp(min=1))
        self.count = total

    def pooled(self) -> "Moments":
        """Moments of all groups together, (1, U).

        >>> moments = Moments(torch.ones(2, 1), torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
        >>> moments.pooled().mean.item(), moments.pooled().m2.item()
        (2.0, 2.0)
        """
        if len(self.mean) == 1:
            return self
        reference = self.mean.index_select(0, self.count.flatten().argmax().unsqueeze(0))
        total = self.count.sum().clamp(min=1)
        weights = (self.count / total).T
        distance = self.mean - reference
        shift = weights @ distance
        m2 = self.m2.sum(dim=0, keepdim=True).addcmul_(weights @ (distance - shift).square_(), total)
        return Moments(self.count.sum(dim=0, keepdim=True), reference + shift, m2)

    def variance(self, ddof: int = 1) -> Tensor:
        """Return m2 / (count - ddof); NaN where there are ``ddof`` observations or fewer."""
        freedom = self.count - ddof
        return self.m2 / torch.where(freedom > 0, freedom, torch.nan)

    def dispersion(self, kind: str) -> Tensor:
        """Dispersion of the observations, ddof = 1.

        Args:
            kind: A key of ``DISPERSIONS``.
        """
        return DISPERSIONS[kind](self.variance(ddof=1))


def starts_of(sizes: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Start of each of several consecutive parts, and end of the last.

    >>> starts_of(torch.tensor([3, 4])).tolist()
    [0, 3, 7]
    """
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]).to(device, non_blocking=True)


def with_more_rows(values: Tensor, rows: int) -> Tensor:
    """Append rows of zeros to (K, U); if K = 0, without a copy, which would need the memory twice."""
    more = values.new_zeros(rows, values.shape[1])
    return torch.cat([values, more]) if len(values) else more


@dataclass(frozen=True)
class Update:
    """By-products of an update, from which deviations from the new means follow.

    Attributes:
        moments: Updated moments of the rows with observations in the batch.
        deviations: Deviations of the observations from ``reference``, (B, U) float32.
        reference: Means before the update, or one of the observations in a new row, (G, U) float64.
    """

    moments: Moments
    deviations: Tensor
    reference: Tensor
