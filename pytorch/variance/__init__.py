"""The measure: transformation variance, sample variance and their ratio, for every activation of a network.

In reading order: ``definition`` (TV, SV and NV), ``measure`` and ``arguments`` (what a caller sees), ``batches`` (the
samples), ``single_pass`` (every batch under every transformation), ``transforming``, ``first_batch`` (what is checked),
``recording`` (activations), ``statistics`` (from activations to TV and SV), ``stopping``, ``memory``, ``precision``,
``standard_errors``, ``outcome``, ``result``, ``result_table``, ``result_html`` and ``result_file`` (what comes out),
``partial_result``, ``partial_file``, ``probe`` and ``ranks`` (samples shared among several processes). ``equivariance``
is the same of feature maps that are turned back. ``fast`` exists for speed alone. Nothing here knows the project's
models, datasets or figures.
"""

from pytorch.variance.equivariance import EquivarianceResult
from pytorch.variance.measure import measure_variance, measure_variances
from pytorch.variance.partial_result import PartialResult, merge_results
from pytorch.variance.result import VarianceResult

__all__ = [
    "EquivarianceResult", "PartialResult", "VarianceResult", "measure_variance", "measure_variances", "merge_results",
]  # fmt: skip
