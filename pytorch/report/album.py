"""Draw planned figures, but none twice: an album remembers what each figure was drawn from.

figures.json    in the folder of figures: every figure there, with its subject, command and digests
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib

import pytorch
from pytorch.errors import FileError, ReportedError
from pytorch.experiments.provenance import file_digest
from pytorch.figures import save_figure
from pytorch.files.whole_file import whole_file
from pytorch.names import FORMATS
from pytorch.progress_bar import progress_bar
from pytorch.report.gallery import CAPTIONS, Look, Plot

VERSION = 1

LONGEST_NAME = 250
"""Longest file name, in characters, without its suffix."""

DRAWING_CODE = ("figures/*.py", "report/*gallery.py", "experiments/unit_examples.py", "variance/result.py")
"""Files of the package that determine the look of a figure."""


class FolderError(FileError):
    """The folder of figures is not writable, so every other figure would fail too."""


class Album:
    """The figures in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plots = {plot.name: plot for plot in _read(folder / "figures.json")}

    def draw(
        self, plots: Sequence[Plot], look: Look, formats: Iterable[str], command: Callable[[Plot], str]
    ) -> tuple[int, list[str]]:
        """Draw each figure that is missing, damaged, or was drawn from other results or with other options or code.

        Args:
            plots: Figures that should exist afterwards.
            look: How to draw them.
            formats: File suffixes; ``png`` and the formats that a figure already has are always written.
            command: Returns the command that draws a figure.

        Returns:
            The number of figures drawn, and one line for each that failed.
        """
        digest, wanted = _look_digest(look), {"png", *formats}
        due, errors = self.due(plots, look, formats), []
        for plot in progress_bar(due, title="drawing", unit=" figures"):
            before = self._plots.get(plot.name)
            try:
                files = self._write_files(plot, wanted | set(before.files if before else ()))
            except FolderError:
                raise
            except ReportedError as error:
                errors.append(str(error))
                continue
            except Exception as error:  # what an odd measurement makes of one figure must not stop the others
                errors.append(f"{plot.name} cannot be drawn: {type(error).__name__}, {error}")
                continue
            self._plots[plot.name] = replace(plot, look=digest, files=files)
            self._write()
        self._describe(plots, command)
        return len(due) - len(errors), errors

    def due(self, plots: Iterable[Plot], look: Look, formats: Iterable[str] = ()) -> list[Plot]:
        """List the figures that ``draw`` would draw."""
        digest, wanted = _look_digest(look), {"png", *formats}
        return [plot for plot in plots if not self._is_current(plot, digest, wanted)]

    def _write_files(self, plot: Plot, formats: Iterable[str]) -> dict[str, str]:
        """Draw a figure into a file of each format; return their digests."""
        figure = plot.draw()
        try:
            return {form: file_digest(save_figure(figure, self._path(plot.name, form))) for form in sorted(formats)}
        except FileError as error:
            raise FolderError(str(error)) from error

    def keep(self, plots: Sequence[Plot], sources: set[str]) -> list[Path]:
        """Strike figures of outdated results from the list; return their files, which stay on the disk.

        Args:
            plots: All figures that can exist, except those of units.
            sources: Digests of all current files.
        """
        current = {plot.name: plot.sources for plot in plots}

        def is_stale(plot: Plot) -> bool:
            if plot.kind == "units":
                return not sources.issuperset(plot.sources)
            return current.get(plot.name) != plot.sources

        stale = [plot for plot in self._plots.values() if is_stale(plot)]
        for plot in stale:
            del self._plots[plot.name]
        if stale:
            self._write()
        return [path for plot in stale if (path := self._path(plot.name, "png")).exists()]

    def figures(self) -> list[Plot]:
        """Return the intact figures, kind by kind, in the order of their names."""
        kinds = list(CAPTIONS)
        whole = [plot for plot in self._plots.values() if plot.kind in kinds and self._is_whole(plot, "png")]
        return sorted(whole, key=lambda plot: (kinds.index(plot.kind), plot.name))

    def _is_current(self, plot: Plot, look: str, formats: Iterable[str]) -> bool:
        drawn = self._plots.get(plot.name)
        same = drawn is not None and (drawn.sources, drawn.look) == (plot.sources, look)
        return same and all(self._is_whole(drawn, form) for form in formats)

    def _is_whole(self, plot: Plot, form: str) -> bool:
        """Whether the file of a figure is the one that was written."""
        try:
            return file_digest(self._path(plot.name, form)) == plot.files.get(form)
        except OSError:
            return False

    def _path(self, name: str, form: str) -> Path:
        return self.folder / f"{name}.{form}"

    def _describe(self, plots: Sequence[Plot], command: Callable[[Plot], str]) -> None:
        """Update kind, title, subject and command of figures, redrawn or not."""
        before = dict(self._plots)
        for plot in plots:
            if drawn := self._plots.get(plot.name):
                self._plots[plot.name] = replace(plot, command=command(plot), look=drawn.look, files=drawn.files)
        if self._plots != before:
            self._write()

    def _write(self) -> None:
        listed = [vars(self._plots[name]) for name in sorted(self._plots)]
        content = [{name: value for name, value in each.items() if name != "draw"} for each in listed]
        with whole_file(self.folder / "figures.json") as file:
            file.write(json.dumps({"version": VERSION, "figures": content}, indent=1).encode())


def _read(path: Path) -> list[Plot]:
    """Read the list of figures; a damaged one, or one of another version, counts as empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"version": None}
        plots = [_plot(**kept) for kept in content["figures"]] if content["version"] == VERSION else []
        return [plot for plot in plots if _stays_inside(plot)]
    except Exception:  # a malformed file can raise anything
        return []


def _plot(sources: list[str], **kept: str | dict[str, str]) -> Plot:
    """Rebuild a listed figure.

    Raises:
        TypeError, AttributeError: A field is missing, unknown or of another type.
    """
    plot = Plot(draw=None, sources=tuple(sources), **kept)
    texts = [plot.name, plot.kind, plot.title, plot.command, plot.look, *sources]
    texts += [text for named in (plot.of, plot.files) for pair in named.items() for text in pair]
    if not all(isinstance(text, str) for text in texts) or not isinstance(sources, list):
        raise TypeError
    return plot


def _stays_inside(plot: Plot) -> bool:
    """Whether the files of a listed figure are inside its folder, and of known formats."""
    path = Path(plot.name)
    short = all(len(part) < LONGEST_NAME for part in path.parts)
    return not path.is_absolute() and ".." not in path.parts and short and set(plot.files) <= set(FORMATS)


def _look_digest(look: Look) -> str:
    """Sixteen hexadecimal digits that depend on the drawing options and on the code that draws."""
    content = hashlib.sha256(repr((asdict(look), matplotlib.__version__)).encode())
    package = Path(pytorch.__file__).parent
    for path in sorted(path for pattern in DRAWING_CODE for path in package.glob(pattern)):
        content.update(path.read_bytes())
    return content.hexdigest()[:16]
