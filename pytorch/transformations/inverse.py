"""Turning feature maps back by the inverse of the transformation that the images went through."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Matrix = tuple[tuple[float, float], tuple[float, float]]

IDENTITY: Matrix = ((1.0, 0.0), (0.0, 1.0))

OUTSIDE = 2.0
"""A coordinate outside every map, in the units of ``grid_sample``."""


@dataclass(frozen=True)
class Inverse:
    """Turn feature maps back, by the affine map along which a transformation moves the content of an image.

    The transformation moves what is at (x, y) to M (x, y) + c, in pixels from the centre, x to the right, y downwards.
    So the turned-back map reads at (x, y) what the feature map has at M (x, y) + c, with c in positions of the map.

    Attributes:
        matrix: M, row by row.
        shift: c, in pixels of the image.
        keeps_disc: Whether only positions in the inscribed disc are kept, as for rotations.
    """

    matrix: Matrix = IDENTITY
    shift: tuple[float, float] = (0.0, 0.0)
    keeps_disc: bool = False

    def then(self, later: "Inverse") -> "Inverse":
        """Return the inverse of a composition, whose second transformation ``later`` is the inverse of.

        >>> flip, shift = Inverse(((-1.0, 0.0), (0.0, 1.0))), Inverse(shift=(1.0, 0.0))
        >>> flip.then(shift).shift, shift.then(flip).shift
        ((1.0, 0.0), (-1.0, 0.0))
        """
        columns = [_moved(later.matrix, column) for column in zip(*self.matrix, strict=True)]
        shift = tuple(a + b for a, b in zip(_moved(later.matrix, self.shift), later.shift, strict=True))
        return Inverse(tuple(zip(*columns, strict=True)), shift, self.keeps_disc or later.keeps_disc)

    def sources(self, height: int, width: int, size: tuple[int, int]) -> Tensor:
        """Row and column of a map at which each position of the turned-back map reads.

        Args:
            height: Height of the map.
            width: Width of the map.
            size: Height and width of the images. A map with s times fewer rows or columns, rounded to a whole number,
                is shifted by s times fewer positions.

        Returns:
            (H, W, 2) float64; NaN for positions outside the disc, where only this is kept.
        """
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
        places = torch.meshgrid(*map(torch.arange, (width, height)), indexing="xy")
        from_centre = torch.stack(places, dim=-1).double() - centre
        shift = [
            by / _spacing(image, on) for by, image, on in zip(self.shift, size[::-1], (width, height), strict=True)
        ]
        matrix, shift = torch.tensor(self.matrix, dtype=torch.float64), torch.tensor(shift, dtype=torch.float64)
        # Products by hand: those of a matrix product are rounded in another order on another processor.
        moved = (matrix * from_centre.unsqueeze(-2)).sum(dim=-1) + shift + centre
        if self.keeps_disc:
            moved[from_centre.square().sum(dim=-1) > centre.min().square()] = torch.nan
        return moved.flip(-1)

    def __call__(self, maps: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Turn whole maps back, bilinearly; 0 where there is nothing to read or keep.

        Args:
            maps: (B, C, H, W), floating point.
            size: Height and width of the images; None: those of the maps.
        """
        height, width = maps.shape[-2:]
        places = self.sources(height, width, (height, width) if size is None else size).flip(-1)
        grid = (2 * places + 1) / torch.tensor([width, height], dtype=torch.float64) - 1
        grid = grid.nan_to_num_(nan=OUTSIDE).to(maps).expand(len(maps), -1, -1, -1)
        only_moved = bool((places == places.round())[~places.isnan()].all())
        return F.grid_sample(maps, grid, mode="nearest" if only_moved else "bilinear", align_corners=False)


def rotation_inverse(degrees: float) -> Inverse:
    """Return the inverse of a rotation, counter-clockwise; quarter turns are exact, and keep more than the disc."""
    quarters, rest = divmod(degrees, 90)
    if rest == 0:
        cosine, sine = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    else:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Inverse(((cosine, sine), (-sine, cosine)), keeps_disc=rest != 0)


def _moved(matrix: Matrix, point: tuple[float, float]) -> tuple[float, float]:
    (a, b), (c, d) = matrix
    x, y = point
    return a * x + b * y, c * x + d * y


def _spacing(image: int, on_map: int) -> float:
    """Pixels between neighbouring positions of a map; without padding a map is smaller, but no coarser.

    >>> _spacing(32, 32), _spacing(32, 28), _spacing(32, 15), _spacing(16, 32)
    (1.0, 1.0, 2.0, 0.5)
    """
    return float(round(image / on_map)) if on_map <= image else 1 / round(on_map / image)
