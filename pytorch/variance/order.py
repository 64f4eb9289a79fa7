"""In which order samples are visited: at random, and such that every stretch of them has its share of each class."""

import torch
from torch import Tensor


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """Draw an order of the samples in which each class is spread evenly.

    Each sample gets a place: the i-th of the n samples of its class, in random order, a random place in the i-th of n
    equal parts. So the first m samples hold m times each class's share, give or take one of each.

    Args:
        labels: (N,) int64 on the CPU.
        seed: The same seed draws the same order.

    Returns:
        (N,) int64, a permutation.

    >>> order = balanced_order(torch.tensor([0] * 50 + [1] * 10), seed=0)
    >>> [int((order[start : start + 12] >= 50).sum()) for start in range(0, 60, 12)]
    [2, 2, 2, 2, 2]
    """
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        ranks = torch.randperm(len(members), generator=generator)
        places[members] = (places[members] + ranks) / len(members)
    return places.argsort()
