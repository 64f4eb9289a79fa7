"""What tells shards of different images or transformations apart: the network inputs of a few samples."""

import numpy as np
import torch
from torch import Tensor

from pytorch.variance.single_pass import PassOptions
from pytorch.variance.transforming import CLOSE, transformed


def probe(samples: Tensor | None, options: PassOptions, device: torch.device) -> np.ndarray:
    """Describe samples, and the input of the network under each transformation.

    Args:
        samples: The same samples in every shard, (B, ...); None: there are none.
        options: Transformations and preprocessing.
        device: Device to compute on.

    Returns:
        (1 + T, 2) float64: root mean square, and the sum of n values times fixed random numbers, over √n. A small
        change of the samples changes both by about its size. (0, 2) without samples.
    """
    if samples is None:
        return np.zeros((0, 2))
    samples = samples.to(device)
    several = samples[[0, 0]] if len(samples) == 1 else samples  # a preprocess may drop an axis of length 1
    inputs = [transformed(several, each, options.preprocess, None) for each in options.transformations]
    return np.array([_described(values) for values in (several, *inputs)])


def differing(one: np.ndarray, other: np.ndarray) -> str | None:
    """Return what differs between the probes of two shards by more than rounding can; None: nothing."""
    if len(one) == 0 or len(other) == 0:
        return None
    if len(one) != len(other):
        return "transformations or preprocess"
    scale = np.maximum(one[:, :1], other[:, :1])
    alike = (np.abs(one - other) <= CLOSE * scale).all(axis=1)
    return None if alike.all() else "transformations or preprocess" if alike[0] else "images"


def _described(values: Tensor) -> tuple[float, float]:
    values = values.detach().cpu().double().flatten()
    numbers = torch.randn(len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return values.square().mean().sqrt().item(), (values @ numbers).item() / len(values) ** 0.5
