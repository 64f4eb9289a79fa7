"""Resampling images along a linear map about their centre."""

import torch
import torch.nn.functional as F
from torch import Tensor


def as_floating(images: Tensor) -> Tensor:
    """Floating-point images as they are, others as float32 on the same scale."""
    return images if images.is_floating_point() else images.float()


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Move the pixels of each image: the one at (x, y) takes the value found at M (x, y).

    Positions are in pixels from the centre of the image, x to the right, y downwards. Bilinear interpolation; 0 outside
    of the image.

    Args:
        images: (B, C, H, W), floating point.
        maps: M, (B, 2, 2) float64, or (1, 2, 2) for all images.

    Returns:
        (B, C, H, W), of the type of ``images``.
    """
    if images.dtype in (torch.float16, torch.bfloat16):  # too coarse to say where a pixel comes from
        return warp(images.float(), maps).to(images.dtype)
    batch, channels, height, width = images.shape
    x = torch.arange(width, dtype=torch.float64, device=images.device) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64, device=images.device) - (height - 1) / 2
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    found_x, found_y = torch.einsum("bij,hwj->bhwi", maps, places).unbind(dim=-1)
    grid = torch.stack([found_x / (width / 2), found_y / (height / 2)], dim=-1).to(images.dtype)
    # On a CPU one grid serves the whole batch if its images are laid out as channels of a single one; CUDA goes through
    # the channels of a pixel one after another.
    stacked = images.reshape(1, batch * channels, height, width) if len(maps) == 1 and images.is_cpu else images
    grid = grid.expand(len(stacked), -1, -1, -1)
    moved = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.reshape(images.shape)
