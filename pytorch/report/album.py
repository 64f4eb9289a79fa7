"""Drawing what is planned, but nothing twice: an album knows of each figure what it followed from.

figures.json    in the folder of figures: all that stand there, and what a reader wants to know of them
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib
from tqdm import tqdm

import pytorch
from pytorch.errors import FileError, ReportedError
from pytorch.experiments.provenance import file_digest
from pytorch.figures import FORMATS, save_figure
from pytorch.figures.drawn import Drawn
from pytorch.files.whole_file import whole_file
from pytorch.report.gallery import CAPTIONS, Look, Planned

VERSION = 1

LONGEST_NAME = 250
"""Letters of a file name without its suffix."""

DRAWING_CODE = ("figures/*.py", "report/*gallery.py", "unit_examples.py", "variance/result.py")
"""What the look of a figure follows from, in the package."""


@dataclass(frozen=True)
class Entry:
    """A figure that was drawn.

    Attributes:
        name: Where, in the folder of figures; without suffix.
        kind, title, of, sources: As planned.
        command: That draws it.
        look: A digest of how it was drawn: of the options, and of the code.
        files: A digest of the file in each format, by suffix.
    """

    name: str
    kind: str
    title: str
    of: dict[str, str]
    sources: list[str]
    command: str
    look: str
    files: dict[str, str]


class FolderError(FileError):
    """The folder of figures cannot be written to: every other figure would fail, too."""


class Album:
    """The figures of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries = {entry.name: entry for entry in _read(folder / "figures.json")}

    def draw(
        self, figures: Sequence[Planned], look: Look, formats: Iterable[str], command: Callable[[Planned], str]
    ) -> tuple[int, list[str]]:
        """Draw those figures that are not there, or of something else, or drawn otherwise, or damaged.

        Args:
            figures: To be there at last.
            look: How to draw them.
            formats: Suffixes of files; ``png`` is always among those made, and formats that a figure had before.
            command: Tells the command that draws a figure.

        Returns:
            How many were drawn, and a line for each that could not be.
        """
        digest, wanted = _look_digest(look), {"png", *formats}
        due = [figure for figure in figures if not self._stands(figure, digest, wanted)]
        errors = []
        for figure in tqdm(due, desc="drawing", unit=" figures", disable=None):
            before = self._entries.get(figure.name)
            try:
                files = self._drawn(figure, wanted | set(before.files if before else ()))
            except FolderError:
                raise
            except ReportedError as error:
                errors.append(str(error))
                continue
            except Exception as error:  # what an odd measurement makes of one figure must not stop the others
                errors.append(f"{figure.name} cannot be drawn: {type(error).__name__}, {error}")
                continue
            self._entries[figure.name] = Entry(
                figure.name, figure.kind, figure.title, figure.of, list(figure.sources), "", digest, files
            )
            self._write()
        self._describe(figures, command)
        return len(due) - len(errors), errors

    def _drawn(self, figure: Planned, formats: Iterable[str]) -> dict[str, str]:
        """Draw a figure into a file of each format; return their digests."""
        picture = figure.draw()
        try:
            return {form: file_digest(save_figure(picture, self._path(figure.name, form))) for form in sorted(formats)}
        except FileError as error:
            raise FolderError(str(error)) from error

    def keep(self, figures: Sequence[Planned], sources: set[str]) -> list[Path]:
        """Strike out figures of something else than what there is now; return those, whose files are left alone.

        Args:
            figures: All that there can be, but for those of units.
            sources: Digests of all files that there are.
        """
        current = {figure.name: list(figure.sources) for figure in figures}
        stale = [
            entry
            for entry in self._entries.values()
            if not (
                sources.issuperset(entry.sources) if entry.kind == "units" else current.get(entry.name) == entry.sources
            )
        ]
        for entry in stale:
            del self._entries[entry.name]
        if stale:
            self._write()
        return [path for entry in stale if (path := self._path(entry.name, "png")).exists()]

    def figures(self) -> list[Drawn]:
        """Return the figures that are there as they were drawn, kind by kind, in the order of their names."""
        kinds = list(CAPTIONS)
        whole = [entry for entry in self._entries.values() if entry.kind in kinds and self._is_whole(entry, "png")]
        whole.sort(key=lambda entry: (kinds.index(entry.kind), entry.name))
        return [
            Drawn(self._path(entry.name, "png"), entry.kind, entry.title, CAPTIONS[entry.kind], entry.command, entry.of)
            for entry in whole
        ]

    def _stands(self, figure: Planned, look: str, formats: Iterable[str]) -> bool:
        entry = self._entries.get(figure.name)
        same = entry is not None and (tuple(entry.sources), entry.look) == (figure.sources, look)
        return same and all(self._is_whole(entry, form) for form in formats)

    def _is_whole(self, entry: Entry, form: str) -> bool:
        """Whether the file of a figure is the one that was written."""
        try:
            return file_digest(self._path(entry.name, form)) == entry.files.get(form)
        except OSError:
            return False

    def _path(self, name: str, form: str) -> Path:
        return self.folder / f"{name}.{form}"

    def _describe(self, figures: Sequence[Planned], command: Callable[[Planned], str]) -> None:
        """Write down what the figures are called by now, drawn anew or not."""
        before = dict(self._entries)
        for figure in figures:
            if entry := self._entries.get(figure.name):
                told = {"kind": figure.kind, "title": figure.title, "of": figure.of, "command": command(figure)}
                self._entries[figure.name] = replace(entry, **told)
        if self._entries != before:
            self._write()

    def _write(self) -> None:
        entries = [asdict(self._entries[name]) for name in sorted(self._entries)]
        with whole_file(self.folder / "figures.json") as file:
            file.write(json.dumps({"version": VERSION, "figures": entries}, indent=1).encode())


def _read(path: Path) -> list[Entry]:
    """Read the list of figures; one that is damaged, or of another version, is as good as none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"version": None}
        entries = [Entry(**entry) for entry in content["figures"]] if content["version"] == VERSION else []
        return [entry for entry in entries if _is_sound(entry)]
    except Exception:  # a file that is not as it should be makes any
        return []


def _is_sound(entry: Entry) -> bool:
    """Whether an entry is of the right types, and stays inside its folder."""
    texts = [entry.name, entry.kind, entry.title, entry.command, entry.look, *entry.sources]
    texts += [text for named in (entry.of, entry.files) for pair in named.items() for text in pair]
    if not all(isinstance(text, str) for text in texts) or not isinstance(entry.sources, list):
        raise TypeError
    path = Path(entry.name)
    short = all(len(part) < LONGEST_NAME for part in path.parts)
    return not path.is_absolute() and ".." not in path.parts and short and set(entry.files) <= set(FORMATS)


def _look_digest(look: Look) -> str:
    """Sixteen hexadecimal digits that follow from the options of drawing and from the code that draws."""
    content = hashlib.sha256(repr((asdict(look), matplotlib.__version__)).encode())
    package = Path(pytorch.__file__).parent
    for path in sorted(path for pattern in DRAWING_CODE for path in package.glob(pattern)):
        content.update(path.read_bytes())
    return content.hexdigest()[:16]
