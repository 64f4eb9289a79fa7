"""The measure: transformation variance, sample variance and their ratio, for every activation of a network.

In reading order: ``layers`` (what is recorded, by what name) with ``operations`` (those that are no module),
``aggregation`` (from positions to units), ``places`` (where they are written), ``activations`` (recording) with
``derived_units`` (what need not be read); ``moments``
(one-pass statistics), ``influence`` (error bars), ``block`` (both, for some units), ``accumulator`` (for all);
``order``, ``batches`` and ``memory``, ``stopping`` (when enough samples have been seen), ``single_pass`` and
``measure`` (the pass, and what a caller sees of it), ``errors``, ``result`` and ``outcome`` (what came out). On CUDA
besides: ``kernels``, got by ``triton_import``, ``fused_block`` (a block of them), ``chains`` (layers that are read
together), ``capture`` and ``replay`` (networks as CUDA graphs).
Nothing here knows the project's models, datasets or figures.
"""

from pytorch.variance.measure import measure_variance, measure_variances
from pytorch.variance.result import VarianceResult

__all__ = ["VarianceResult", "measure_variance", "measure_variances"]
