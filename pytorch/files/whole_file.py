"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pytorch.errors import FileError
from pytorch.files.lock import is_at, lock


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name only once it is complete and on the disk; folders are created as needed.

    Incomplete copies that killed processes left behind are removed.

    Raises:
        FileError: The file cannot be written; its earlier content is still there.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        part, file = _new_part(path)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # which cannot rename an open file
                file.close()
            part.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
        raise


def _new_part(path: Path) -> tuple[Path, BinaryIO]:
    """Create and lock a file with an unused name in the same folder."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        file = part.open("xb")
        if lock(file) is not False and is_at(file, part):
            return part, file
        file.close()  # another process took it for an abandoned one, just before it was locked


def _remove_abandoned(path: Path) -> None:
    """Remove parts that no process is writing: a living writer holds a lock."""
    for part in path.parent.iterdir():
        if part.name.startswith(f".{path.name}.") and part.suffix == ".part":
            with suppress(OSError), part.open("r+b") as file:
                if lock(file):
                    part.unlink()


def _sync_folder(folder: Path) -> None:
    """Write the new name of a file to the disk too, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
