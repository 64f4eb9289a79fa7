"""Figures on the disk."""

from pathlib import Path

from matplotlib.figure import Figure

from pytorch.whole_file import whole_file

DOTS_PER_INCH = 150


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return path
