"""Stop once every layer mean of NV is known to within a given half-width."""

import torch
from torch import Tensor

from pytorch.variance.statistics.accumulator import VarianceAccumulator

CONFIDENCE_95 = 1.9599639845400536
"""Half-width of the 95 % confidence interval of a normal distribution, in standard errors."""

FEWEST_SAMPLES, FEWEST_OF_CLASS = 100, 10
"""Minimum number of samples, overall and per class, for a reliable error estimate."""


class Stopping:
    """Watches the layer means of NV of one model, over all samples and stratified.

    The half-width of a mean is that of its 95 % confidence interval as an estimate of the mean over all N samples.
    Hence the factor √(1 - n/N) (Cochran, Sampling Techniques, eq. 2.20). A margin covers units that have been constant
    so far: each counts as 1 by definition, and drops to almost 0 when a sample activates it. The number expected to
    become active while the number of samples doubles is that of the last doubling, plus one.

    Args:
        total: Total number of samples, N; None: unknown, treated as infinite.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._snapshots: list[tuple[int, Tensor, Tensor]] = []

    def half_width(self, accumulator: VarianceAccumulator) -> float:
        """Half-width of the least certain layer mean so far; infinite while samples are too few for an estimate.

        Args:
            accumulator: Sums of the model over the samples so far.
        """
        counts = accumulator.counts
        samples = int(counts.sum())
        constant_all, constant = accumulator.constant_units()
        if not self._snapshots or samples >= 2 * self._snapshots[-1][0]:
            self._snapshots = [*self._snapshots[-1:], (samples, constant_all, constant)]
        if samples < FEWEST_SAMPLES or (counts[counts > 0] < FEWEST_OF_CLASS).any() or len(self._snapshots) < 2:
            return float("inf")
        left = 1 - samples / self._total if self._total else 1.0
        again = min(1.0, (self._total - samples) / samples) if self._total else 1.0
        _, before_all, before = self._snapshots[0]
        before = torch.cat([before, constant[len(before) :]])
        layers = len(accumulator.layers)
        errors = accumulator.errors()
        widths = []
        for error, awaking in (
            (errors.all[-1], may_awake(before_all, constant_all)),
            (errors.stratified, may_awake(before, constant)[accumulator.in_strata()].mean(dim=0)),
        ):
            units = torch.tensor(accumulator.layers, dtype=torch.float64)
            widths.append(CONFIDENCE_95 * left**0.5 * torch.from_numpy(error[:layers]) + again * awaking / units)
        return torch.stack(widths).nan_to_num(nan=torch.inf).max().item()


def may_awake(before: Tensor, now: Tensor) -> Tensor:
    """Expected number of constant units that become active while the number of samples doubles.

    >>> may_awake(torch.tensor([5.0, 5.0, 0.0]), torch.tensor([5.0, 2.0, 0.0])).tolist()
    [1.0, 2.0, 0.0]
    """
    return torch.minimum(now, before - now + 1)
