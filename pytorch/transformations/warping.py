"""Resampling images along a linear map about their centre."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

PLANES_TOGETHER = 6
"""Most channels, of one or several images, to sample together on a CPU. On two cores, sampling 64 images of
3 × 224 × 224 all at once takes more than three times as long."""

COARSE = (torch.float16, torch.bfloat16)
"""Types too coarse for the coordinates of pixels."""


def as_floating(images: Tensor) -> Tensor:
    """Return floating-point images unchanged, others as float32 on the same scale."""
    return images if images.is_floating_point() else images.float()


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Resample each image: the pixel at (x, y) gets the value at M (x, y).

    Positions are in pixels from the centre of the image, x to the right, y downwards. Bilinear interpolation; 0 outside
    the image.

    Args:
        images: (B, C, H, W), floating point.
        maps: M, (B, 2, 2) float64.

    Returns:
        (B, C, H, W), with the dtype of ``images``.
    """
    if images.dtype in COARSE:
        return warp(images.float(), maps).to(images.dtype)
    return _sampled(images, _grids(maps, *images.shape[2:], images.dtype))


def warp_alike(images: Tensor, matrix: tuple[tuple[float, float], tuple[float, float]]) -> Tensor:
    """Resample all images with the same map, as ``warp`` does; ``matrix`` is M, row by row."""
    if images.dtype in COARSE:
        return warp_alike(images.float(), matrix).to(images.dtype)
    batch, _, height, width = images.shape
    grid = _grid_alike(matrix, height, width, images.dtype, images.device)
    if not images.is_cpu:
        return _sampled(images, grid.expand(batch, -1, -1, -1))
    return _sampled_together(images, grid)


def _grids(maps: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Source position of each pixel, in the units of ``grid_sample``, (B, H, W, 2)."""
    x = torch.arange(width, dtype=torch.float64, device=maps.device) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64, device=maps.device) - (height - 1) / 2
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    found_x, found_y = torch.einsum("bij,hwj->bhwi", maps, places).unbind(dim=-1)
    return torch.stack([found_x / (width / 2), found_y / (height / 2)], dim=-1).to(dtype)


@lru_cache(maxsize=64)
def _grid_alike(
    matrix: tuple[tuple[float, float], tuple[float, float]],
    height: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """``_grids`` of one map, cached because every batch uses the same few maps."""
    with torch.inference_mode(False):  # cached tensors must work in any mode
        return _grids(torch.tensor([matrix], dtype=torch.float64, device=device), height, width, dtype)


def _sampled_together(images: Tensor, grid: Tensor) -> Tensor:
    """``_sampled`` of all images by one grid, (1, H, W, 2), on a CPU.

    The weights of a position are shared by all channels of an image, so several images become channels of one. Few
    enough fit in the cache, and each thread takes whole images.
    """
    batch, channels, height, width = images.shape
    together = next(count for count in range(PLANES_TOGETHER, 0, -1) if batch * channels % count == 0)
    sheets = images.reshape(batch * channels // together, together, height, width)
    return _sampled(sheets, grid.expand(len(sheets), -1, -1, -1)).reshape(images.shape)


def _sampled(images: Tensor, grids: Tensor) -> Tensor:
    return F.grid_sample(images, grids, mode="bilinear", padding_mode="zeros", align_corners=False)
