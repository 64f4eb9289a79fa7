"""Does the mean of a unit over samples depend on the transformation? A one-way analysis of variance, from the sums."""

import numpy as np
from scipy import special  # not scipy.stats, whose import takes a second
from torch import Tensor


def f_statistic(means: Tensor, m2: Tensor, samples: int) -> Tensor:
    """Mean square between transformations, relative to that within them.

    F = N Σ_t (m_t - m̄)² / (T - 1)  /  (Σ_t Σ_x (a(x, t) - m_t)² / (T (N - 1)))

    Args:
        means: Mean over samples under each transformation, m_t, (T, U) float64.
        m2: Sum of squared deviations from it, (T, U) float64.
        samples: Number of samples, N.

    Returns:
        F, (U,) float64; NaN for units that never change.

    >>> import torch
    >>> means, m2 = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.0]])
    >>> f_statistic(means, m2, samples=3)
    tensor([6.])
    """
    steps = len(means)
    between = samples * (means - means.mean(dim=0)).square().sum(dim=0) / (steps - 1)
    return between / (m2.sum(dim=0) / (steps * (samples - 1)))


def p_values(statistics: np.ndarray, transformations: int, samples: int) -> np.ndarray:
    """Probability of an F at least as large, if the mean did not depend on the transformation.

    >>> p_values(np.array([6.0]), transformations=2, samples=3).round(3)
    array([0.07])
    """
    return special.fdtrc(transformations - 1, transformations * (samples - 1), statistics)
