"""How well a model classifies upright and rotated data."""

import torch
from torch import Tensor, nn

from pytorch.datasets import Normalization, Split
from pytorch.evaluation_mode import evaluation_mode
from pytorch.transformations import rotate

ANGLE_SEED = 0
"""Of the angles of the rotated data: every model is tested on the same."""


def accuracies(
    model: nn.Module, split: Split, normalization: Normalization, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Fraction of the samples of ``split`` that the model classifies right.

    Returns:
        ``upright``: of the samples as they are; ``rotated``: each turned by an angle of its own, the same in every
        call, uniform in [-180°, 180°).
    """
    degrees = random_degrees(len(split), torch.Generator().manual_seed(ANGLE_SEED))
    return {
        "upright": accuracy(model, split, normalization, None, batch_size, device),
        "rotated": accuracy(model, split, normalization, degrees, batch_size, device),
    }


def accuracy(
    model: nn.Module,
    split: Split,
    normalization: Normalization,
    degrees: Tensor | None,
    batch_size: int,
    device: torch.device,
) -> float:
    """Fraction of samples classified right; the model's mode is left as it was found.

    Args:
        model: On ``device``.
        split: The samples; every one counts.
        normalization: Constants of the training split.
        degrees: (N,), by how much each sample is turned; None: samples stay as they are.
        batch_size: Samples per forward pass.
        device: Where to compute.
    """
    right = torch.zeros((), dtype=torch.int64, device=device)
    with evaluation_mode(model), torch.inference_mode():
        for indices in torch.arange(len(split)).split(batch_size):
            images = split.images[indices].to(device)
            inputs = model_inputs(images, None if degrees is None else degrees[indices], normalization)
            right += (model(inputs).argmax(dim=1) == split.labels[indices].to(device)).sum()
    return right.item() / len(split)


def model_inputs(images: Tensor, degrees: Tensor | None, normalization: Normalization) -> Tensor:
    """Turn each image by its angle, normalise, and lay out as convolutions like it.

    Args:
        images: (B, C, H, W) uint8.
        degrees: (B,), on any device; None: images stay as they are.
        normalization: Constants of the training split.
    """
    if degrees is not None:
        images = rotate(images, degrees.to(images.device))
    return normalization(images).contiguous(memory_format=torch.channels_last)


def random_degrees(count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` angles, uniform in [-180°, 180°)."""
    return torch.rand(count, generator=generator) * 360 - 180
