"""Standard errors of layer means from the influence of each sample, in the same pass and in constant memory.

A layer mean is a smooth function of means over samples. Its standard error therefore follows from the influence of each
sample on it (the infinitesimal jackknife). Let s(x) be the dispersion of a unit over transformations, and let m_t and
σ_t be its mean and dispersion over samples under transformation t. Then

    I_TV(x) = s(x) - TV
    I_SV(x) = mean over t of κ_t ((a(x, t) - m_t)² - σ_t²),    κ_t = 1 / (2 σ_t), or 1 where the dispersion is σ_t²
    I_NV(x) = (I_TV(x) - NV I_SV(x)) / SV
    SE² = mean over x of (mean over the units of the layer of I(x))² / (N - 1)

Influences are averaged over the units of a layer before squaring, so correlation between units counts in full. With few
samples NV is too large, by the second-order terms of the same Taylor expansion (of a ratio and a square root):

    bias = mean over x of (NV w(x) - I_NV(x) I_SV(x)) / (SV N),    w(x) = mean over t of (q_t(x)² - q̄_t²) / (2 σ_t)

with q_t(x) = κ_t (a(x, t) - m_t)², or w = 0 where the dispersion is the variance, whose estimate is unbiased.

TV, SV, m_t and σ_t are those of the samples so far, including the batch of x. This is exact for a single batch and
becomes more accurate over a longer run, of which ``ErrorSums`` keeps only the later part.

Source:
    B. Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, chapters 2 and 6.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.variance.statistics.moments import Groups, Moments, Update

SCALES = {
    "std": lambda dispersion, steps: dispersion.mul_(2 * steps).rsqrt_().nan_to_num_(nan=0, posinf=0),
    "variance": lambda dispersion, steps: dispersion.fill_(steps**-0.5),
}
"""√(κ / T) from the dispersion, in place; κ = d dispersion / d variance, taken as 0 where undefined."""

CENTRES = {"std": 0.5, "variance": 1.0}
"""Mean of q over samples, as a multiple of the dispersion."""


class SquaredDeviations:
    """Contribution of a batch to the error of SV: squared deviations from the means over samples, summed over t.

    float32 is precise enough for an error.

    Attributes:
        sum: Mean over t of q_t(x) = κ_t (a(x, t) - m_t)², (B, U) float32.
        dispersion: SV of the samples so far, the mean over t of each group's dispersion, (G, U) float64.

    Args:
        groups: Classes, or all samples of the batch as one group.
        transformations: Number of transformations, T.
        units: Number of units, U.
        dispersion: ``"std"`` or ``"variance"``.
    """

    def __init__(self, groups: Groups, transformations: int, units: int, dispersion: str) -> None:
        self.sum: Tensor | float = 0.0
        self.dispersion: Tensor | float = 0.0
        self.fourth: Tensor | float = 0.0
        self._groups = groups
        self._kind = dispersion
        self._steps = transformations
        self._units = units

    def add(self, update: Update, of: Groups, moments: Moments) -> None:
        """Add the activations under the next transformation, or under several side by side.

        Args:
            update: Update of the moments over samples by these activations.
            of: Groups of the update.
            moments: Moments whose means the deviations are taken from, one row per group.
        """
        scale = self.scales(moments)
        offset = of.spread((update.reference - moments.mean).float().mul_(scale))
        here = offset if offset.shape == update.deviations.shape else None
        squares = torch.addcmul(offset, update.deviations, self._groups.spread(scale), out=here).square_()
        self.sum += stacked_sum(squares, self._units)
        if self._kind == "std":
            self.fourth += stacked_sum(self._groups.sum(squares.square_()).mul_(scale).mul_(scale), self._units)

    def scales(self, moments: Moments) -> Tensor:
        """Add the dispersion of these moments to SV, and return their √(κ / T), float32."""
        dispersion = moments.dispersion(self._kind)
        self.dispersion += stacked_sum(dispersion, self._units) / self._steps
        return SCALES[self._kind](dispersion.float(), self._steps)

    def add_sums(self, total: Tensor, fourth: Tensor) -> None:
        """Add sums computed by kernels.

        Args:
            total: New value of ``sum``, over all transformations so far, (B, U) float32.
            fourth: Squares of the latest terms of ``sum`` times κ / T, summed over the samples of each group, (G, U).
        """
        self.sum = total
        self.fourth += fourth

    def average(self, mean: Callable[[Tensor], Tensor]) -> None:
        """Replace units by their means over parts of them, (R, U) by (R, V); nothing can be added afterwards."""
        self.sum, self.dispersion = mean(self.sum), mean(self.dispersion)
        if self._kind == "std":
            self.fourth = mean(self.fourth)

    def curvature(self) -> Tensor:
        """Sum of w(x) over the samples of each group, (G, U).

        SV is too small by the mean of w(x) over samples, divided by N.
        """
        if self._kind == "variance":
            return torch.zeros_like(self.dispersion)
        # The mean of q² / (2 σ) over t is T² Σ (q / T)² κ / T, and that of q̄² / (2 σ) is SV / 8.
        return self.fourth * self._steps**2 - self.dispersion * self._groups.counts / 8


@dataclass(frozen=True)
class Expansion:
    """Point about which the influences on each unit are expanded, and their coefficients.

    Attributes:
        tv: TV of each group so far, (G, U).
        centre: Mean of q, (G, U).
        inverse: 1 / SV, or 0 where NV is not ``known``, (G, U).
        nv: NV, or 0 where it is not ``known``, (G, U).
        known: Whether NV is finite and SV nonzero, (G, U). If a unit does not vary over samples, its NV is 1 or inf by
            definition, and no sample influences it.
        has_ratio: Whether NV is finite, where 0/0 counts as 1, (G, U).
        curvature: Value of ``SquaredDeviations.curvature``, (G, U).
    """

    tv: Tensor
    centre: Tensor
    inverse: Tensor
    nv: Tensor
    known: Tensor
    has_ratio: Tensor
    curvature: Tensor

    @classmethod
    def of(cls, squares: SquaredDeviations, tv: Tensor, kind: str) -> "Expansion":
        """Expand about the samples so far, after a complete batch; ``kind`` is a key of ``CENTRES``."""
        sv = squares.dispersion
        ratio = tv / sv
        known = torch.isfinite(ratio)
        # A class with one sample so far has no SV, so the sample has no influence on it yet.
        centre = torch.where(sv.isnan() & ~tv.isnan(), 0.0, CENTRES[kind] * sv)
        inverse, nv = (torch.where(known, values, 0.0) for values in (1 / sv, ratio))
        return cls(tv, centre, inverse, nv, known, known | ((tv == 0) & (sv == 0)), squares.curvature())

    def second(self, products: Tensor) -> Tensor:
        """Second-order part of the influence on NV, summed over the samples of each group, (G, U).

        Args:
            products: I_SV(x) / SV times I_NV(x), summed over the samples of each group, (G, U).
        """
        return torch.where(self.known, self.nv * self.inverse * self.curvature - products, 0.0)


FEWEST_OF_SHARD = 10
"""Minimum number of samples of a group in a shard that contributes to its errors. Influences are taken about estimates
of the shard, which makes errors too small: by 5 % with 50 samples in each shard, by 20 % with 10."""


def influences(dispersion: Tensor, squares: Tensor, about: Expansion, groups: Groups) -> tuple[list[Tensor], Tensor]:
    """Compute the influence of each sample of a batch on TV, SV and NV of each unit.

    Args:
        dispersion: s(x), (B, U).
        squares: Mean over t of q_t(x), (B, U).
        about: Expansion about the samples so far, including the batch.
        groups: Groups of ``about``.

    Returns:
        Influence of each sample on TV, SV and NV, each (B, U); and the second-order part of that on NV, summed over the
        samples of each group, (G, U). Its mean over samples, divided by N, is the bias of NV.
    """
    on_tv = groups.deviations(dispersion, about.tv)
    on_sv = groups.deviations(squares.double(), about.centre)
    inverses = groups.spread(about.inverse)
    relative_sv = on_sv * inverses
    on_nv = (on_tv * inverses).addcmul_(relative_sv, groups.spread(about.nv), value=-1)
    on_nv.masked_fill_(groups.spread(~about.known), 0)
    products = groups.sum(relative_sv.mul_(on_nv))
    return [on_tv, on_sv, on_nv], about.second(products)


def stacked_sum(values: Tensor, units: int) -> Tensor:
    """Sum the C parts of (B, C·U) that lie side by side, giving (B, U).

    >>> stacked_sum(torch.tensor([[1, 2, 10, 20, 100, 200]]), 2).tolist()
    [[111, 222]]
    """
    return values if values.shape[1] == units else values.unflatten(1, (-1, units)).sum(dim=1)


def by_layer(values: Tensor, layers: list[int]) -> Tensor:
    """Sum (B, U) over the units of each layer, giving (B, L)."""
    return torch.stack([part.sum(dim=1) for part in values.split(layers, dim=1)], dim=1)


class ErrorSums:
    """Sums of influences over samples, for K groups of samples and any number of columns (layer means).

    Early influences are taken about poor estimates. The samples of a group are therefore split into windows, each as
    long as all earlier ones together. Only the last two windows are kept: at least the later half of the samples.

    Attributes:
        sums: Sums over the previous and the current window, (2, K, columns) float64.
        counts: Number of samples in each window, (2, K) int64 on the CPU.
        before: Number of samples before the current window, (K,) int64 on the CPU.

    Args:
        columns: Number of columns.
        device: Device of the sums.
    """

    def __init__(self, columns: int, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(2, 0, columns, dtype=torch.float64, device=device)
        self.counts = torch.zeros(2, 0, dtype=torch.int64)
        self.before = torch.zeros(0, dtype=torch.int64)

    @property
    def samples(self) -> Tensor:
        """Number of samples of each group, (K,) int64 on the CPU."""
        return self.before + self.counts[1]

    def append(self, rows: int) -> None:
        """Add rows for more groups."""
        self.sums = torch.cat([self.sums, self.sums.new_zeros(2, rows, self.sums.shape[2])], dim=1)
        self.counts = torch.cat([self.counts, self.counts.new_zeros(2, rows)], dim=1)
        self.before = torch.cat([self.before, self.before.new_zeros(rows)])

    def add(self, sums: Tensor, groups: Groups) -> None:
        """Add the sums of a batch, (G, columns)."""
        inside = self.counts[1, groups.present]
        full = groups.present[(inside > 0) & (inside >= self.before[groups.present])]
        if len(full):
            self.before[full] += self.counts[1, full]
            for parts, rows in ((self.counts, full), (self.sums, full.to(self.sums.device, non_blocking=True))):
                parts[0, rows] = parts[1, rows]
                parts[1, rows] = 0
        self.counts[1, groups.present] += groups.sizes
        self.sums[1].index_add_(0, groups.rows, sums)

    def tensors(self) -> tuple[Tensor, ...]:
        """The state, in a fixed order."""
        return self.sums, self.counts, self.before

    def blank(self) -> "ErrorSums":
        """Sums over no samples, of as many groups and columns."""
        other = ErrorSums(self.sums.shape[2], self.sums.device)
        other.append(self.sums.shape[1])
        return other

    def forget_few(self, fewest: int) -> None:
        """Forget the influences in groups of fewer than ``fewest`` samples, which still count as samples."""
        few = self.samples < fewest
        self.before += torch.where(few, self.counts[1], 0)
        self.counts[:, few] = 0
        self.sums[:, few.to(self.sums.device)] = 0

    def merge(self, other: "ErrorSums") -> None:
        """Add the sums of other samples of the same groups."""
        self.sums += other.sums
        self.counts += other.counts
        self.before += other.before

    def means(self) -> Tensor:
        """Means over the samples of both windows, (K, columns) on the CPU; NaN for groups of fewer than two samples."""
        means = self.sums.sum(dim=0).cpu() / self.counts.sum(dim=0).unsqueeze(1)
        return torch.where(self.samples.unsqueeze(1) > 1, means, torch.nan)
