"""Locks on files, which die with the process that holds them."""

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
        Whether it is ours; False: another has it; None: the system or the file system knows no locks.
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
    """Whether an open file still has a name, which another process may have removed, or given to another file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def sole_run(path: Path, task: str) -> Iterator[None]:
    """Hold a lock file, so that a task is not done twice at the same moment; folders are made as needed.

    Args:
        path: Of the lock file. It is removed in the end, with the folders that were made for it if they are empty;
            one that a killed process left binds nobody.
        task: What is done, to say that another does it: "training resnet on cifar10".

    Raises:
        FileError: Another process holds it, or it cannot be made, or it is something else.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = _locked(path)
        except FileNotFoundError:  # the run before this one has just removed the folder that it had made
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _locked(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
    if file is None:
        raise FileError(f"another process{_holder(path)} is {task} just now: wait until it is done, or end it")
    with file:
        try:
            with suppress(OSError):  # the number is for people to read
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
    """Open and lock a file, made if need be; None if another holds it.

    Raises:
        FileError: It is no lock file; it would be overwritten.
        OSError: It cannot be opened or made.
    """
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666), "r+b", buffering=0)
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or file.read(20).strip(b"0123456789"):
            file.close()
            raise FileError(f"{path} is no lock file: remove it")
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
