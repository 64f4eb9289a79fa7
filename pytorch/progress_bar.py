"""The progress bar of all long work: a widget in a notebook, text on a terminal, nothing in redirected output."""

import sys
import warnings
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    title: str | None,
    unit: str = "it",
    total: int | None = None,
    leave: bool = True,
) -> tqdm:
    """Make a progress bar.

    Args:
        iterable: What the bar counts; None: calls of ``update`` count.
        title: Title of the bar; None: no bar.
        unit: Unit of the count.
        total: Number of steps; None: the length of the iterable, if it has one.
        leave: Whether the bar stays after the end.
    """
    notebook = in_notebook()
    # None: hidden unless stderr is a terminal, which it never is in a notebook.
    hidden = True if title is None else False if notebook else None
    kind = _notebook_kind() if notebook else tqdm
    return kind(iterable, desc=title, unit=unit, total=total, leave=leave, disable=hidden)


def in_notebook() -> bool:
    """Whether this code runs in the kernel of a notebook, such as Jupyter's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config


def _notebook_kind() -> type[tqdm]:
    """The bar of tqdm for notebooks: a widget; without ipywidgets, text below the cell."""
    with warnings.catch_warnings(action="ignore"):  # tqdm warns about missing ipywidgets
        from tqdm.auto import tqdm as kind
    return kind
