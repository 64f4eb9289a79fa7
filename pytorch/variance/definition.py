"""The definition of the measure, on the whole table of activations; ``measure_variance`` gives the same in one pass."""

import numpy as np


def variances(table: np.ndarray, dispersion: str = "std") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute TV, SV and NV of each unit from its activations.

    TV = mean over x of dispersion over t,  SV = mean over t of dispersion over x,  NV = TV / SV;  0 / 0 counts as 1.

    Args:
        table: (N, T, ...) float64, the activation of each unit for sample x (rows) under transformation t (columns).
        dispersion: ``"std"`` or ``"variance"``, both with ddof = 1.

    Returns:
        TV, SV and NV, each (...) float64.

    Source:
        Quiroga et al. (2019), doi 10.1007/978-3-030-27713-0_9.

    >>> x, t = np.arange(5.0)[:, None], np.arange(3.0)
    >>> [float(value.round(3)) for value in variances(x + t)]
    [1.0, 1.581, 0.632]
    """
    disperse = {"std": np.std, "variance": np.var}[dispersion]
    tv = disperse(table, axis=1, ddof=1).mean(axis=0)
    sv = disperse(table, axis=0, ddof=1).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        nv = np.where((tv == 0) & (sv == 0), 1.0, tv / sv)
    return tv, sv, nv
