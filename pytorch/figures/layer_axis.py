"""An axis of layers, with legible names grouped by the blocks of the network."""

import math
import re
from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes

from pytorch.figures.style import POINTS_PER_INCH, both_ends, plain

LARGEST_NAME, SMALLEST_NAME = 7.0, 4.0
"""Font sizes of layer names in points; where the smallest does not fit, only blocks are named."""

BLOCK_NAME = 6.5
"""Font size of the names of blocks in points."""

GAP = 0.015
"""Space on each side of the bracket of a block, in inches."""

WIDTH_OF_LETTER = 0.62
"""Width of a letter, relative to the font size."""


def split_name(layer: str) -> tuple[str, str]:
    """Split the name of a layer into that of its block and its own within the block.

    The block ends with the last numbered part of the name, not counting the layer's own part. Without a numbered part
    it ends at the last dot.

    >>> split_name("layer1.0.downsample.1"), split_name("features.conv1"), split_name("conv1")
    (('layer1.0', 'downsample.1'), ('features', 'conv1'), ('', 'conv1'))
    """
    parts = layer.split(".")
    numbered = [index for index, part in enumerate(parts[:-1]) if re.search(r"\d", part)]
    cut = numbered[-1] + 1 if numbered else len(parts) - 1
    return ".".join(parts[:cut]), ".".join(parts[cut:])


def named_blocks(layers: Sequence[str], parts: int | None = None) -> list[tuple[str, int, int]]:
    """Return name, first and last position of each run of layers in one block.

    Args:
        layers: Names of the layers.
        parts: Maximum number of parts of the name of a block; None: all, the smallest blocks.

    >>> named_blocks(["conv", "a1.0.conv", "a1.0.relu", "a1.1.conv", "fc"])
    [('a1.0', 1, 2), ('a1.1', 3, 3)]
    >>> named_blocks(["conv", "a1.0.conv", "a1.0.relu", "a1.1.conv", "fc"], parts=1)
    [('a1', 1, 3)]
    """
    blocks = [".".join(split_name(layer)[0].split(".")[:parts]) for layer in layers]
    runs = groupby(enumerate(layers), key=lambda place: blocks[place[0]])
    places = [(name, [index for index, _ in run]) for name, run in runs]
    return [(name, indices[0], indices[-1]) for name, indices in places if name]


def name_layers(axes: Axes, layers: Sequence[str], pitch: float, suffixes: Sequence[str] | None = None) -> None:
    """Put the names of layers under the x axis, without the blocks that ``name_blocks`` names.

    Args:
        axes: Axes with layers at 0, 1, ...
        layers: Names of the layers.
        pitch: Distance between two layers in inches, which limits the font size.
        suffixes: Text after each name.
    """
    axes.set_xlim(-0.5, len(layers) - 0.5)
    size = min(LARGEST_NAME, 0.9 * pitch * POINTS_PER_INCH)
    if size < SMALLEST_NAME:
        axes.set_xticks([])
        axes.set_xlabel("layer, in order of execution", fontsize=8)
        return
    names = _names_beside_blocks(layers, pitch)
    labels = names if suffixes is None else [f"{n}  {s}" for n, s in zip(names, suffixes, strict=True)]
    axes.set_xticks(range(len(layers)), map(plain, labels), rotation=90, fontsize=size)
    axes.tick_params(axis="x", length=2, pad=1)


def name_rows(axes: Axes, layers: Sequence[str], pitch: float, room: float) -> None:
    """Put the names of layers at the y axis: of every layer or, if these are too close, of every second and so on.

    Args:
        axes: Axes with layers at 0, 1, ...
        layers: Names of the layers.
        pitch: Distance between two layers in inches.
        room: Width of the names in inches.
    """
    step = math.ceil(SMALLEST_NAME / (0.9 * pitch * POINTS_PER_INCH))
    size = min(LARGEST_NAME, 0.9 * pitch * step * POINTS_PER_INCH)
    letters = int(room * POINTS_PER_INCH / (WIDTH_OF_LETTER * size))
    names = [plain(both_ends(layer, letters)) for layer in layers[::step]]
    axes.set_yticks(range(0, len(layers), step), names, fontsize=size)
    axes.tick_params(axis="y", length=2, pad=1)


def name_blocks(axes: Axes, layers: Sequence[str], pitch: float) -> bool:
    """Put a bracket with a name above the layers of each block; return whether there is any.

    The blocks are the smallest whose names fit above most of their layers. Where none do, they are the largest, and as
    many have names as there is room for.

    Args:
        axes: Axes with layers at 0, 1, ...
        layers: Names of the layers.
        pitch: Distance between two layers in inches.
    """
    found, names = _legible_blocks(layers, pitch)
    above, gap = axes.get_xaxis_transform(), max(0.1, GAP / pitch)
    for (_, first, last), name in zip(found, names, strict=True):
        axes.plot(
            [first - 0.5 + gap, last + 0.5 - gap], [1.03, 1.03], transform=above, clip_on=False, color="#555555", lw=0.8
        )
        if name:
            middle = (first + last) / 2
            axes.text(middle, 1.06, plain(name), transform=above, fontsize=BLOCK_NAME, ha="center", va="bottom",
                      color="#333333")  # fmt: skip
    return bool(found)


def _names_beside_blocks(layers: Sequence[str], pitch: float) -> list[str]:
    """Names of layers without the blocks that are named above them; whole where none is.

    >>> _names_beside_blocks(["conv", "block1.0.conv", "block1.0.relu", "block1.1.conv"], pitch=0.3)
    ['conv', 'conv', 'relu', 'block1.1.conv']
    """
    names = list(layers)
    for (block, first, last), name in zip(*_legible_blocks(layers, pitch), strict=True):
        if name:
            names[first : last + 1] = [layer.removeprefix(f"{block}.") for layer in layers[first : last + 1]]
    return names


def _legible_blocks(layers: Sequence[str], pitch: float) -> tuple[list[tuple[str, int, int]], list[str | None]]:
    """Return blocks as ``named_blocks`` does, and the names above them; None where a name has no room.

    Args:
        layers: Names of the layers.
        pitch: Distance between two layers in inches.
    """
    letters = pitch * POINTS_PER_INCH / (WIDTH_OF_LETTER * BLOCK_NAME)  # that fit above a layer
    blocks = named_blocks(layers)
    most = max((1 + name.count(".") for name, _, _ in blocks), default=0)
    for parts in range(most, 0, -1):
        blocks = named_blocks(layers, parts)
        sizes = [last - first + 1 for _, first, last in blocks]
        forms = zip(*(_forms(name, [other for other, _, _ in blocks], parts) for name, _, _ in blocks), strict=True)
        fitting = [
            [name if len(name) <= size * letters else None for name, size in zip(form, sizes, strict=True)]
            for form in forms
        ]
        covered = [sum(size for name, size in zip(form, sizes, strict=True) if name) for form in fitting]
        if 2 * max(covered) >= sum(sizes):
            return blocks, fitting[covered.index(max(covered))]
    names, free = [], -math.inf
    for name, first, last in blocks:
        begin = (first + last) / 2 - len(name) / letters / 2
        names.append(name if begin > free else None)
        free = free if names[-1] is None else begin + (len(name) + 1) / letters
    return blocks, names


def _forms(name: str, names: Sequence[str], count: int) -> list[str]:
    """The name, and its ends that say as much: less what all names of as many parts begin with, and a letter first.

    There are ``count`` of them, the last one repeatedly.

    >>> _forms("net.layers.layer_0", ["net.layers.layer_0", "net.layers.layer_1", "head"], 3)
    ['net.layers.layer_0', 'layers.layer_0', 'layer_0']
    >>> _forms("features.1.conv.0", ["features.1.conv.0", "features.2.conv.0"], 2)
    ['features.1.conv.0', 'features.1.conv.0']
    """
    parts, forms = name.split("."), [name]
    for start in range(1, len(parts)):
        others = [other.split(".")[:start] for other in names if other.count(".") >= start]
        if any(other != parts[:start] for other in others):
            break
        if not parts[start][:1].isdigit():
            forms.append(".".join(parts[start:]))
    return [forms[min(index, len(forms) - 1)] for index in range(count)]
