"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pytorch.errors import FileError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only once it is complete and on the disk; folders are made as needed.

    What a process that was killed left of the same file is removed.

    Raises:
        FileError: It cannot be written; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with temporary.open("wb") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
        raise


def _remove_abandoned(path: Path) -> None:
    """Remove the parts of a file that no process is writing: a writer holds a lock, which dies with it."""
    for part in path.parent.iterdir():
        if part.name.startswith(f".{path.name}.") and part.suffix == ".part":
            with suppress(OSError), part.open("r+b") as file:
                _lock(file)
                part.unlink()


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed, where its file system knows locks.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass
