"""What a reader wants to know about a figure on the disk."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Drawn:
    """A figure on the disk.

    Attributes:
        path: Of a PNG file.
        kind: Its sort: all figures of a kind show the same of different measurements.
        title: One line.
        caption: How to read it.
        command: That draws it.
        of: Some of ``model``, ``dataset``, ``transformation``, ``aggregation``, ``control`` and ``group``;
            a figure of all models, say, has no ``model`` here.
    """

    path: Path
    kind: str
    title: str
    caption: str
    command: str
    of: dict[str, str]
