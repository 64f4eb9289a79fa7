"""A table without a format; Markdown, LaTeX and HTML are written from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error; NaN if unknown."""

    value: float
    error: float = math.nan


Cell = str | int | Estimate | None
"""Text, a count, any other number as an ``Estimate``, or None for an empty cell."""

Row = dict[str, Cell]
"""Cells by column head."""


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        name: Name for links: lower-case letters, digits and ``-``.
        title: One line.
        caption: What the numbers are, and how to read them.
        columns: Column heads.
        rows: Rows with one cell per column; all cells of a column have one type, or are None.
    """

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[Cell]]


def table_of_rows(name: str, title: str, caption: str, rows: Sequence[Row]) -> Table:
    """Make a table of rows, which may lack cells; columns without any content are left out."""
    heads = dict.fromkeys(head for row in rows for head in row)
    columns = [head for head in heads if any(row.get(head) is not None for row in rows)]
    return Table(name, title, caption, columns, [[row.get(head) for head in columns] for row in rows])
