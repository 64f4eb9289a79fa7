"""File locks that end with the process that holds them."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pytorch.errors import FileError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def lock(file: BinaryIO) -> bool | None:
    """Lock an open file until it is closed.

    Returns:
        True if this process now holds the lock, False if another does, None if the system or the file system has no
        locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether a path still names an open file; another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def sole_run(path: Path, task: str) -> Iterator[None]:
    """Hold a lock file, so that only one process does a task; folders are created as needed.

    Args:
        path: Path of the lock file. At the end it is removed, along with empty folders that were created for it. A
            lock file that a killed process left behind has no effect.
        task: Task for the message of another process, such as "training resnet on cifar10".

    Raises:
        FileError: Another process holds the lock, the file cannot be created, or it is not a lock file.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = _locked(path)
        except FileNotFoundError:  # another run has just removed the folder that it had created
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _locked(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
    if file is None:
        raise FileError(f"another process{_holder(path)} is {task} right now: wait until it is done, or end it")
    with file:
        try:
            with suppress(OSError):  # only people read the number
                file.truncate(0)
                file.write(str(os.getpid()).encode())
                file.flush()
            yield
        finally:
            with suppress(OSError):
                path.unlink()
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()


def _locked(path: Path) -> BinaryIO | None:
    """Open or create a file and lock it; None if another process holds the lock.

    Raises:
        FileError: It is not a lock file, and would be overwritten.
        OSError: It cannot be opened or created.
    """
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666), "r+b", buffering=0)
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or file.read(20).strip(b"0123456789"):
            file.close()
            raise FileError(f"{path} is not a lock file: remove it")
        file.seek(0)
        ours = lock(file)
        if ours is not False and is_at(file, path):
            return file
        file.close()
        if ours is False:
            return None


def _holder(path: Path) -> str:
    with suppress(OSError):
        number = path.read_bytes()[:20]
        return f" ({number.decode()})" if number.isdigit() else ""
    return ""
