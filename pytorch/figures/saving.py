"""Figures on the disk."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pytorch.errors import InputError
from pytorch.files.whole_file import whole_file

DOTS_PER_INCH = 150

FORMATS = ("png", "pdf", "svg")

UNDATED = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""Metadata: the same figure makes the same file."""

EMBEDDED = {"pdf.fonttype": 42, "svg.hashsalt": "variance"}
"""TrueType fonts in PDF, which publishers ask for; and names in SVG that do not change."""


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a figure in the format that the suffix of its path names, whole or not at all, and return its path.

    Raises:
        InputError: The suffix is none of ``FORMATS``.
        FileError: The file cannot be written.
    """
    path = Path(path)
    form = path.suffix[1:].lower()
    if form not in FORMATS:
        raise InputError(f"{path} has no suffix that names a format: {', '.join(FORMATS)}")
    with whole_file(path) as file, matplotlib.rc_context(EMBEDDED):
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=UNDATED[form])
    return path
