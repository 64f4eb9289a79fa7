"""Finite, ordered, deterministic sets of image transformations, on tensors.

A transformation is a callable on a batch (B, C, H, W); a set is a sequence of them. Values keep their scale. The
result is floating point, even for uint8 images, because interpolation makes fractions. Pixels that the transformed
image does not cover are 0 (black).

| set | grid of i = 0 ... n - 1 | interpolation | identity |
|---|---|---|---|
| ``rotations(n, degrees=360)`` | degrees · i / n, counter-clockwise | bilinear, none for quarter turns | i = 0 |
| ``translations(n, spacing=2)`` | √n × √n shifts, ``spacing`` pixels apart, about 0 | none | middle one, for odd √n |
| ``scalings(n, smallest=0.5, largest=1)`` | geometric, the largest first | bilinear, without antialiasing | i = 0 |
| ``flips()`` | as it is, and mirrored sideways | none | i = 0 |
| ``brightness(n, darkest=0.25, brightest=1)`` | geometric, the brightest first | none | i = 0 |
| ``compositions(first, second)`` | every pair, ``second`` the faster | that of its parts | if in both |
"""

from pytorch.transformations.composition import Composition, compositions
from pytorch.transformations.flipping import Flip, flips
from pytorch.transformations.inverse import Inverse
from pytorch.transformations.lighting import Brightness, brightness
from pytorch.transformations.registry import transformation_set
from pytorch.transformations.rotation import DiscMask, Rotation, rotate, rotations
from pytorch.transformations.scaling import Scaling, scalings
from pytorch.transformations.translation import Translation, translations

__all__ = [
    "Brightness",
    "Composition",
    "DiscMask",
    "Flip",
    "Inverse",
    "Rotation",
    "Scaling",
    "Translation",
    "brightness",
    "compositions",
    "flips",
    "rotate",
    "rotations",
    "scalings",
    "transformation_set",
    "translations",
]
