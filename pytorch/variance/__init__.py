"""The measure: transformation variance, sample variance and their ratio, for every activation of a network.

In reading order: ``moments`` (one-pass statistics), ``activations`` (recording), ``accumulator`` (the sums per
class and transformation), ``measure`` (the single pass, with its ``batches`` and ``memory``), ``result`` (what came
out). Nothing here knows the project's models, datasets or figures.
"""

from pytorch.variance.measure import measure_variance, measure_variances
from pytorch.variance.result import VarianceResult

__all__ = ["VarianceResult", "measure_variance", "measure_variances"]
