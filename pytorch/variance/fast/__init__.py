"""Code that exists only for speed; without it results are the same.

The plain path meets it in three places: ``reader`` (reading activations into units), ``fused_block`` (statistics by
kernels) and ``replay`` (networks as CUDA graphs). Behind these: ``derived_units`` (units that follow from those of the
layer before), ``chains`` (layers read together), ``capture``, and ``kernels``, imported by ``triton_import``.
"""
