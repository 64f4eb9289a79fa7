"""Error bars: how far each sample pulls the layer means, in the same pass and in constant memory.

A layer mean is a smooth function of means over samples, so its standard error follows from the influence of each
sample on it (the infinitesimal jackknife). With s(x) the dispersion of a unit over the transformations, m_t and
σ_t its mean and dispersion over the samples under transformation t,

    I_TV(x) = s(x) - TV
    I_SV(x) = mean over t of κ_t ((a(x, t) - m_t)² - σ_t²),    κ_t = 1 / (2 σ_t), or 1 where the dispersion is σ_t²
    I_NV(x) = (I_TV(x) - NV I_SV(x)) / SV
    SE² = mean over x of (mean over the units of the layer of I(x))² / (N - 1)

The units of a layer are averaged before the square, so that what they have in common counts in full. NV of few samples
is too large, by the second-order terms of the same expansion (Taylor's, of a ratio and of a square root):

    bias = mean over x of (NV w(x) - I_NV(x) I_SV(x)) / (SV N),    w(x) = mean over t of (q_t(x)² - q̄_t²) / (2 σ_t)

with q_t(x) = κ_t (a(x, t) - m_t)², or w = 0 where the dispersion is the variance, whose estimate is unbiased.

TV, SV, m_t and σ_t are those of the samples so far, the batch of x included: exact for a single batch, and ever closer
in a longer run, of which ``ErrorSums`` keeps the later part alone.

Source:
    B. Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, chapters 2 and 6.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pytorch.variance.statistics.moments import Groups, Moments, Update

SCALES = {
    "std": lambda dispersion, steps: dispersion.mul_(2 * steps).rsqrt_().nan_to_num_(nan=0, posinf=0),
    "variance": lambda dispersion, steps: dispersion.fill_(steps**-0.5),
}
"""√(κ / T), in place of the dispersion, κ being its derivative by the variance; 0 where there is none."""

CENTRES = {"std": 0.5, "variance": 1.0}
"""The mean of q over the samples is so many times the dispersion."""


class SquaredDeviations:
    """What the error of SV needs of a batch: squared deviations from the means over samples, summed over t.

    float32 is exact enough for an error.

    Attributes:
        sum: (B, U) float32, mean over t of q_t(x) = κ_t (a(x, t) - m_t)².
        dispersion: (G, U) float64, SV of the samples so far: the mean over t of the dispersion of each group.

    Args:
        groups: Classes, or all samples of the batch as one.
        transformations: T.
        units: U.
        dispersion: ``"std"`` or ``"variance"``.
    """

    def __init__(self, groups: Groups, transformations: int, units: int, dispersion: str) -> None:
        self.sum: Tensor | float = 0.0
        self.dispersion: Tensor | float = 0.0
        self._fourth: Tensor | float = 0.0
        self._groups = groups
        self._kind = dispersion
        self._steps = transformations
        self._units = units

    def add(self, update: Update, of: Groups, moments: Moments) -> None:
        """Take in the activations under the next transformation, or under several, side by side.

        Args:
            update: Of the moments over samples by these activations.
            of: The groups of the update.
            moments: About which to take the deviations, a row for each of ``groups``.
        """
        scale = self.scales(moments)
        offset = of.spread((update.reference - moments.mean).float().mul_(scale))
        here = offset if offset.shape == update.deviations.shape else None
        squares = torch.addcmul(offset, update.deviations, self._groups.spread(scale), out=here).square_()
        self.sum += stacked_sum(squares, self._units)
        if self._kind == "std":
            self._fourth += stacked_sum(self._groups.sum(squares.square_()).mul_(scale).mul_(scale), self._units)

    def scales(self, moments: Moments) -> Tensor:
        """Take in the dispersion of these moments, and return √(κ / T) for them, float32."""
        dispersion = moments.dispersion(self._kind)
        self.dispersion += stacked_sum(dispersion, self._units) / self._steps
        return SCALES[self._kind](dispersion.float(), self._steps)

    def add_sums(self, total: Tensor, fourth: Tensor) -> None:
        """Take in sums that were taken otherwise.

        Args:
            total: (B, U) float32, ``sum`` from the first transformation on.
            fourth: (G, U), of the squares of what is summed there, times κ / T, over the samples of each group.
        """
        self.sum = total
        self._fourth += fourth

    def curvature(self) -> Tensor:
        """The sum over the samples of a group of w(x), (G, U); over N it is by how much SV is too small."""
        if self._kind == "variance":
            return torch.zeros_like(self.dispersion)
        # q² / (2 σ) has the mean T² Σ (q / T)² κ / T over t, and q̄² / (2 σ) an eighth of SV.
        return self._fourth * self._steps**2 - self.dispersion * self._groups.counts / 8


@dataclass(frozen=True)
class Expansion:
    """About what the influences on each unit are taken, and by what they are divided.

    Attributes:
        tv: (G, U), TV of each group so far.
        centre: (G, U), the mean of q.
        inverse: (G, U), 1 / SV, or 0.
        nv: (G, U), NV, or 0.
        known: (G, U), whether NV is finite and SV is not 0. A unit without samples that differ has an NV of 1 or inf,
            by definition: no sample has an influence on it.
        curvature: (G, U), as ``SquaredDeviations.curvature``.
    """

    tv: Tensor
    centre: Tensor
    inverse: Tensor
    nv: Tensor
    known: Tensor
    curvature: Tensor

    @classmethod
    def of(cls, squares: SquaredDeviations, tv: Tensor, kind: str) -> "Expansion":
        """Take it of a batch that is complete; ``kind`` is a key of ``CENTRES``."""
        sv = squares.dispersion
        known = torch.isfinite(tv / sv)
        # A class of one sample so far has no SV, and its sample no influence on it yet.
        centre = torch.where(sv.isnan() & ~tv.isnan(), 0.0, CENTRES[kind] * sv)
        inverse, nv = torch.where(known, 1 / sv, 0.0), torch.where(known, tv / sv, 0.0)
        return cls(tv, centre, inverse, nv, known, squares.curvature())

    def second(self, products: Tensor) -> Tensor:
        """The second-order part of the influence on NV, summed over the samples of each group, (G, U).

        Args:
            products: (G, U), the sum over the samples of a group of I_SV(x) / SV times I_NV(x).
        """
        return torch.where(self.known, self.nv * self.inverse * self.curvature - products, 0.0)


@dataclass(frozen=True)
class Influences:
    """What the samples of a batch say about the errors of U units.

    Attributes:
        first: For each of TV, SV and NV the influence of each sample, (B, U).
        second: (G, U), the sum over the samples of each group of the second-order part of the influence on NV: over
            N it is the bias of NV.
    """

    first: list[Tensor]
    second: Tensor


def influences(dispersion: Tensor, squares: Tensor, about: Expansion, groups: Groups) -> Influences:
    """Compute the influence of each sample of a batch on TV, SV and NV of each unit.

    Args:
        dispersion: (B, U), s(x).
        squares: (B, U), the mean over t of q_t(x).
        about: Of the samples so far, the batch included.
        groups: Those of ``about``.
    """
    on_tv = groups.deviations(dispersion, about.tv)
    on_sv = groups.deviations(squares.double(), about.centre)
    inverses = groups.spread(about.inverse)
    relative_sv = on_sv * inverses
    on_nv = (on_tv * inverses).addcmul_(relative_sv, groups.spread(about.nv), value=-1)
    on_nv.masked_fill_(groups.spread(~about.known), 0)
    products = groups.sum(relative_sv.mul_(on_nv))
    return Influences([on_tv, on_sv, on_nv], about.second(products))


def stacked_sum(values: Tensor, units: int) -> Tensor:
    """Add up what lies side by side, (B, U) of (B, C·U).

    >>> stacked_sum(torch.tensor([[1, 2, 10, 20, 100, 200]]), 2).tolist()
    [[111, 222]]
    """
    return values if values.shape[1] == units else values.unflatten(1, (-1, units)).sum(dim=1)


def by_layer(values: Tensor, layers: list[int]) -> Tensor:
    """Sum (B, U) over the units of each layer, (B, L)."""
    return torch.stack([part.sum(dim=1) for part in values.split(layers, dim=1)], dim=1)


class ErrorSums:
    """Sums over samples of their influences, for K groups of samples and any columns (layer means).

    Early influences are taken about poor estimates. So the samples of a group are counted in windows, each as long as
    all those before it, and the last two are kept: at least the later half of the samples.

    Attributes:
        sums: (2, K, columns) float64, of the window before the present one, and of the present one.
        counts: (2, K) int64 on the CPU, the number of samples in each.
        before: (K,) int64 on the CPU, the number of samples before the present window.

    Args:
        columns: How many sums.
        device: Where to keep them.
    """

    def __init__(self, columns: int, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(2, 0, columns, dtype=torch.float64, device=device)
        self.counts = torch.zeros(2, 0, dtype=torch.int64)
        self.before = torch.zeros(0, dtype=torch.int64)

    @property
    def samples(self) -> Tensor:
        """The number of samples of each group, (K,) int64 on the CPU."""
        return self.before + self.counts[1]

    def append(self, rows: int) -> None:
        """Make room for more groups."""
        self.sums = torch.cat([self.sums, self.sums.new_zeros(2, rows, self.sums.shape[2])], dim=1)
        self.counts = torch.cat([self.counts, self.counts.new_zeros(2, rows)], dim=1)
        self.before = torch.cat([self.before, self.before.new_zeros(rows)])

    def add(self, sums: Tensor, groups: Groups) -> None:
        """Take in the sums of a batch, (G, columns)."""
        inside = self.counts[1, groups.present]
        full = groups.present[(inside > 0) & (inside >= self.before[groups.present])]
        if len(full):
            self.before[full] += self.counts[1, full]
            for parts, rows in ((self.counts, full), (self.sums, full.to(self.sums.device, non_blocking=True))):
                parts[0, rows] = parts[1, rows]
                parts[1, rows] = 0
        self.counts[1, groups.present] += groups.sizes
        self.sums[1].index_add_(0, groups.rows, sums)

    def merge(self, other: "ErrorSums", rows: list[int]) -> None:
        """Take in the sums of other samples; ``rows`` are their groups' rows here."""
        self.sums[:, rows] += other.sums
        self.counts[:, rows] += other.counts
        self.before[rows] += other.before

    def means(self) -> Tensor:
        """Means over the samples that are kept, (K, columns) on the CPU; NaN for fewer than two samples."""
        means = self.sums.sum(dim=0).cpu() / self.counts.sum(dim=0).unsqueeze(1)
        return torch.where(self.samples.unsqueeze(1) > 1, means, torch.nan)
