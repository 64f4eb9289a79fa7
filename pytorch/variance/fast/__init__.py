"""Code that exists only for speed; results are the same without it.

The plain path uses it in three places: ``reader`` (reading activations into units), ``fused_block`` (statistics by
kernels) and ``replay`` (networks as CUDA graphs). These rely on ``derived_units`` (units that follow from those of the
previous layer), ``chains`` (layers read together), ``capture``, and ``kernels``, imported by ``triton_import``.
"""
