"""Same-equivariance: how much a feature map varies once it is turned back by the inverse transformation.

In reading order: ``definition`` (in NumPy), ``position_choice`` and ``turning`` (which positions are read, and where),
``maps`` and ``map_layers`` (in the single pass), ``map_accumulator`` and ``channel_block`` (from positions to sums),
``position_errors``, ``outcome`` and ``equivariance_result`` (what comes out).
"""

from pytorch.variance.equivariance.equivariance_result import EquivarianceResult

__all__ = ["EquivarianceResult"]
