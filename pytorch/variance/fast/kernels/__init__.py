"""Kernels for CUDA, in Triton: each reads once what operations of PyTorch go through the memory many times for.

PyTorch brings Triton along where it is built for CUDA on Linux. ``TRITON_INTERPRET=1``, set before this package is
imported, runs the kernels on a CPU, slowly.
"""

from pytorch.variance.fast.kernels import influences, reading, sums

__all__ = ["influences", "reading", "sums"]
