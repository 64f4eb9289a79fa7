"""A table before it has a form: CSV, Markdown, LaTeX and HTML are made of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, which is NaN where it is unknown."""

    value: float
    error: float = math.nan


Cell = str | int | Estimate | None
"""None is a cell without content; a number that is not counted stands in an ``Estimate``."""

Row = dict[str, Cell]
"""Cells by the heads of their columns."""


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


def table_of_rows(name: str, title: str, caption: str, rows: Sequence[Row]) -> Table:
    """Lay rows with the same heads out, without the columns in which none has anything."""
    columns = [head for head in (rows[0] if rows else ()) if any(row[head] is not None for row in rows)]
    return Table(name, title, caption, columns, [[row[head] for head in columns] for row in rows])
