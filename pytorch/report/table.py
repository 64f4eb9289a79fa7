"""A table before it has a form: CSV, Markdown, LaTeX and HTML are made of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, which may be NaN."""

    value: float
    error: float


Cell = str | int | Estimate | None
"""None is a cell without content; a number that is not counted stands in an ``Estimate``."""


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        name: In file names and links: lower-case letters, digits and ``-``.
        title: One line.
        caption: What the numbers are, and how to read them.
        columns: Heads.
        rows: As many cells each as there are columns; all cells of a column are of one type, or None.
    """

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[Cell]]
