"""When enough samples have been seen: every layer mean of NV is known to a given half-width."""

import torch
from torch import Tensor

from pytorch.variance.statistics.accumulator import VarianceAccumulator

CONFIDENCE_95 = 1.959963984540054
"""Half-width of the 95 % confidence interval of a normal distribution, in standard errors."""

FEWEST_SAMPLES, FEWEST_OF_CLASS = 100, 10
"""An error estimated from fewer is not relied upon."""


class Stopping:
    """Watches the layer means of NV of one model, over all samples and stratified.

    The half-width of a mean is that of its 95 % confidence interval, as an estimate of what all N samples would give
    (hence the factor √(1 - n/N), Cochran, Sampling Techniques, eq. 2.20), and something for the units that have been
    constant so far: each counts as 1 by definition, and falls to near 0 when a sample comes that it responds to. As
    many as awoke while the number of samples last doubled, and one more, are reckoned to awake while it doubles again.

    Args:
        accumulator: Of the model.
        total: N; None: unknown, as good as infinite.
    """

    def __init__(self, accumulator: VarianceAccumulator, total: int | None) -> None:
        self._accumulator = accumulator
        self._total = total
        self._snapshots: list[tuple[int, Tensor, Tensor]] = []

    def half_width(self) -> float:
        """Half-width of the least known layer mean so far; infinite while the samples are too few to tell."""
        counts = self._accumulator.counts
        samples = int(counts.sum())
        constant_all, constant = self._accumulator.constant_units()
        if not self._snapshots or samples >= 2 * self._snapshots[-1][0]:
            self._snapshots = [*self._snapshots[-1:], (samples, constant_all, constant)]
        if samples < FEWEST_SAMPLES or (counts[counts > 0] < FEWEST_OF_CLASS).any() or len(self._snapshots) < 2:
            return float("inf")
        left = 1 - samples / self._total if self._total else 1.0
        again = min(1.0, (self._total - samples) / samples) if self._total else 1.0
        _, before_all, before = self._snapshots[0]
        before = torch.cat([before, constant[len(before) :]])
        layers = len(self._accumulator.layers)
        errors = self._accumulator.errors()
        widths = []
        for error, awaking in (
            (errors.all[-1], may_awake(before_all, constant_all)),
            (errors.stratified, may_awake(before, constant)[self._accumulator.in_strata()].mean(dim=0)),
        ):
            units = torch.tensor(self._accumulator.layers, dtype=torch.float64)
            widths.append(CONFIDENCE_95 * left**0.5 * torch.from_numpy(error[:layers]) + again * awaking / units)
        return torch.stack(widths).max().item()


def may_awake(before: Tensor, now: Tensor) -> Tensor:
    """How many constant units are reckoned to awake while the number of samples doubles.

    >>> may_awake(torch.tensor([5.0, 5.0, 0.0]), torch.tensor([5.0, 2.0, 0.0])).tolist()
    [1.0, 2.0, 0.0]
    """
    return torch.minimum(now, before - now + 1)
