"""CUDA kernels in Triton: each reads its input once, where PyTorch operations would read memory many times.

PyTorch builds for CUDA on Linux include Triton. With ``TRITON_INTERPRET=1`` set before this package is imported, the
kernels run on a CPU, slowly.
"""

from pytorch.variance.fast.kernels import influences, reading, sums

__all__ = ["influences", "reading", "sums"]
