"""The rooms of the package, and which of them may import which."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytorch"
SMALL = {"available_memory", "checked_numbers", "errors", "names", "progress_bar", "torchvision_import"}
MAY_IMPORT = {
    "files": {"available_memory", "errors"},
    "transformations": {"checked_numbers", "errors", "names"},
    "variance": {"available_memory", "checked_numbers", "errors", "files", "names", "progress_bar"},
    "models": SMALL,
    "datasets": SMALL | {"transformations", "variance"},
    "experiments": SMALL | {"datasets", "files", "models", "transformations", "variance"},
    "figures": SMALL | {"experiments", "files", "variance"},
    "report": SMALL | {"datasets", "experiments", "figures", "files", "transformations", "variance"},
    "claims": SMALL | {"experiments", "models", "report", "variance"},
}
"""Rooms that each room may import besides itself."""


def imported(path):
    """Full names of the modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    for path in (PACKAGE / room).rglob("*.py"):
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("pytorch.")}
        assert rooms <= MAY_IMPORT[room] | {room}, path


def test_only_figures_and_report_import_matplotlib():
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ("figures", "report"):
            assert not any(name.split(".")[0] == "matplotlib" for name in imported(path)), path
