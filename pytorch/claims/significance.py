"""Statistical tests, and the adjustment of many p-values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # not scipy.stats, whose import takes a second

UPPER = 0.975
"""Quantile at the upper end of the 95 % intervals, which must clear the bounds of claims."""

SMALLEST_ERROR = 1e-12
"""Smaller errors count as none; they belong to constant values."""

DRAWS = 1000
"""Number of draws for the error of a rank correlation."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, so that the probability of any wrong rejection keeps its level.

    The k-th smallest of n becomes the maximum of (n - j + 1) · p_(j) over j ≤ k, at most 1 (Holm 1979, A simple
    sequentially rejective multiple test procedure). NaN stays NaN but counts as a test.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [math.nan] * len(p_values)
    highest = 0.0
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[place] = highest
    return adjusted


def holm_of_cases(p_values: Sequence[float], are_cases: Sequence[bool]) -> list[float]:
    """Adjust the p-values of cases for their number; the others become NaN and do not count.

    >>> holm_of_cases([0.01, 0.5, 0.03], [True, False, True])
    [0.02, nan, 0.03]
    """
    tested = iter(holm([p for p, is_case in zip(p_values, are_cases, strict=True) if is_case]))
    return [next(tested) if is_case else math.nan for is_case in are_cases]


def z_test(value: float, error: float) -> float:
    """Two-sided p-value of a value, if it were normally distributed around 0 with this standard error."""
    if not (math.isfinite(value) and math.isfinite(error)):
        return math.nan
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * special.ndtr(-abs(value) / error))


def t_test(values: Sequence[float]) -> float:
    """Two-sided p-value of independent values, if their mean were 0 (Student's t); NaN for fewer than two."""
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    if np.ptp(values) == 0:
        return 1.0 if values[0] == 0 else 0.0
    t = np.mean(values) / (np.std(values, ddof=1) / math.sqrt(len(values)))
    return float(2 * special.stdtr(len(values) - 1, -abs(t)))


@dataclass(frozen=True)
class Spread:
    """How much true values differ, given estimates with errors.

    Attributes:
        mean: Mean of the estimates, with equal weights.
        error: Mean of their errors.
        deviation: Standard deviation (ddof = 1) of the true values, without the contribution of the errors; 0 if the
            errors explain all of it.
        p_value: p-value of the hypothesis that all true values are equal.
    """

    mean: float
    error: float
    deviation: float
    p_value: float


def spread(values: np.ndarray, errors: np.ndarray) -> Spread:
    """Judge whether independent estimates differ by more than their errors.

    Cochran's Q = Σ w (x - x̄)², w = 1 / error², x̄ weighted by w, follows χ² with k - 1 degrees of freedom if all true
    values are equal. The deviation is √max(0, s² - mean of error²), s² with equal weights (Hedges & Olkin 1985,
    Statistical Methods for Meta-Analysis, chapter 9). Weights by error would favour small values, which have small
    errors. Estimates without a finite error above 0 are left out.

    Args:
        values: Estimates, (K,).
        errors: Standard errors, (K,).
    """
    known = np.isfinite(values) & np.isfinite(errors) & (errors > SMALLEST_ERROR)
    values, errors = values[known], errors[known]
    mean, error = (float(each.mean()) if len(each) else math.nan for each in (values, errors))
    if len(values) < 2:
        return Spread(mean, error, math.nan, math.nan)
    weights = 1 / errors**2
    q = float((weights * (values - np.average(values, weights=weights)) ** 2).sum())
    variance = float(values.var(ddof=1) - (errors**2).mean())
    return Spread(mean, error, math.sqrt(max(variance, 0.0)), float(special.chdtrc(len(values) - 1, q)))


@dataclass(frozen=True)
class Trend:
    """How consistently values rise along an order.

    Attributes:
        tau: Kendall's rank correlation, from -1 (falling throughout) to 1 (rising throughout).
        error: Standard error of ``tau``, from the errors of the values.
    """

    tau: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """Confidence interval of τ, by the normal approximation."""
        width = float(special.ndtri(UPPER)) * self.error
        return self.tau - width, self.tau + width


def trend(values: np.ndarray, errors: np.ndarray) -> Trend:
    """Compute Kendall's τ: the fraction of pairs in order minus the fraction in opposite order.

    Its error is the standard deviation of τ over ``DRAWS`` seeded draws of independent normal values with these errors.
    It is NaN if an error is not finite.

    Args:
        values: Values in their order, (L,), finite.
        errors: Standard errors, (L,).
    """
    if len(values) < 3:
        return Trend(math.nan, math.nan)
    tau = float(_tau(values[None])[0])
    if not np.isfinite(errors).all():
        return Trend(tau, math.nan)
    noise = np.random.default_rng(0).standard_normal((DRAWS, len(values)))
    return Trend(tau, float(_tau(values + errors * noise).std()))


def _tau(values: np.ndarray) -> np.ndarray:
    """Kendall's τ of each row."""
    count = values.shape[1]
    in_order = sum(np.sign(values[:, place + 1 :] - values[:, [place]]).sum(axis=1) for place in range(count - 1))
    return in_order / (count * (count - 1) / 2)
