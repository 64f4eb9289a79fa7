"""Drawing what is planned, but nothing twice: an album knows of each figure what it followed from.

figures.json    in the folder of figures: all that stand there, and what a reader wants to know of them
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
from tqdm import tqdm

import pytorch.figures
from pytorch.figures import save_figure
from pytorch.figures.drawn import Drawn
from pytorch.report.gallery import CAPTIONS, Look, Planned
from pytorch.whole_file import whole_file

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A figure that was drawn.

    Attributes:
        name: Where, in the folder of figures; without suffix.
        kind, title, of, sources: As planned.
        command: That drew it.
        look: A digest of how: of the options, and of the code.
    """

    name: str
    kind: str
    title: str
    of: dict[str, str]
    sources: list[str]
    command: str
    look: str

    def drawn(self, folder: Path) -> Drawn:
        """Return it for a reader."""
        path = folder / f"{self.name}.png"
        return Drawn(path, self.kind, self.title, CAPTIONS[self.kind], self.command, self.of)


class Album:
    """The figures of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries = {entry.name: entry for entry in _read(folder / "figures.json")}

    def draw(
        self, figures: Iterable[Planned], look: Look, formats: Iterable[str], command: Callable[[Planned], str]
    ) -> int:
        """Draw those figures that are not there, or of something else, or drawn otherwise; return how many.

        Args:
            figures: To be there at last.
            look: How to draw them.
            formats: Suffixes of files; ``png`` is always among those made.
            command: Tells the command that draws a figure.
        """
        formats = sorted({"png", *formats})
        digest = _look_digest(look)
        due = [figure for figure in figures if not self._stands(figure, digest, formats)]
        for figure in tqdm(due, desc="drawing", unit=" figures", disable=None):
            picture = figure.draw()
            for form in formats:
                save_figure(picture, self.folder / f"{figure.name}.{form}")
            sources = list(figure.sources)
            self._entries[figure.name] = Entry(
                figure.name, figure.kind, figure.title, figure.of, sources, command(figure), digest
            )
            self._write()
        return len(due)

    def forget(self, sources: set[str]) -> list[Path]:
        """Strike out figures that follow from files that are no longer there; return them, they are left alone."""
        stale = [entry for entry in self._entries.values() if not sources.issuperset(entry.sources)]
        for entry in stale:
            del self._entries[entry.name]
        if stale:
            self._write()
        return [path for entry in stale if (path := self.folder / f"{entry.name}.png").exists()]

    def figures(self) -> list[Drawn]:
        """Return the figures that are there, kind by kind, in the order of their names."""
        kinds = list(CAPTIONS)
        known = [entry for entry in self._entries.values() if entry.kind in kinds]
        known.sort(key=lambda entry: (kinds.index(entry.kind), entry.name))
        drawn = [entry.drawn(self.folder) for entry in known]
        return [figure for figure in drawn if figure.path.exists()]

    def _stands(self, figure: Planned, look: str, formats: list[str]) -> bool:
        entry = self._entries.get(figure.name)
        same = entry is not None and (tuple(entry.sources), entry.look) == (figure.sources, look)
        return same and all((self.folder / f"{figure.name}.{form}").exists() for form in formats)

    def _write(self) -> None:
        entries = [asdict(self._entries[name]) for name in sorted(self._entries)]
        with whole_file(self.folder / "figures.json") as file:
            file.write(json.dumps({"version": VERSION, "figures": entries}, indent=1).encode())


def _read(path: Path) -> list[Entry]:
    """Read the list of figures; one that is damaged, or of another version, is as good as none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = [Entry(**entry) for entry in content["figures"]] if content["version"] == VERSION else []
        return [entry for entry in entries if _stays_inside(entry.name)]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _stays_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _look_digest(look: Look) -> str:
    """Sixteen hexadecimal digits that follow from the options of drawing and from the code that draws."""
    content = hashlib.sha256(repr((asdict(look), matplotlib.__version__)).encode())
    for path in sorted(Path(pytorch.figures.__file__).parent.glob("*.py")):
        content.update(path.read_bytes())
    return content.hexdigest()[:16]
