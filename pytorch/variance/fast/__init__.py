"""Code that exists only for speed; without it results are the same.

``derived_units`` (units that follow from those of the layer before) serves the CPU. The rest serves CUDA: ``kernels``,
imported by ``triton_import``; ``chains`` (layers read together), ``fused_block`` (statistics by kernels), ``capture``
and ``replay`` (networks as CUDA graphs).
"""
