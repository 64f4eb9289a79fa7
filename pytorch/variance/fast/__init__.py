"""Code that exists only for speed; results are the same without it.

The plain path uses it in four places: ``reader`` (reading activations into units, on a CPU by ``compiled_reading``),
``fused_block`` and ``compiled_block`` (statistics by kernels on CUDA, and in C on a CPU) and ``replay`` (networks as
CUDA graphs). These rely on ``derived_units`` (units that follow from those of the previous layer), ``chains`` (layers
read together), ``capture``, ``kernels``, imported by ``triton_import``, and ``statistics.c`` and ``reading.c``,
compiled by ``c_library``.
"""
