"""Locks on files, which die with the process that holds them."""

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


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed.

    Returns:
        Whether it is ours; False: another has it, or it has been removed meanwhile. Where the system or the file
        system knows no locks it is anyone's.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return os.fstat(file.fileno()).st_nlink > 0


@contextmanager
def sole_run(path: Path, task: str) -> Iterator[None]:
    """Hold a lock file, so that a task is not done twice at the same moment; folders are made as needed.

    Args:
        path: Of the lock file. It is removed in the end, with the folders that were made for it if they are empty;
            one that a killed process left binds nobody.
        task: What is done, to say that another does it: "training resnet on cifar10".

    Raises:
        FileError: Another process holds it, or it cannot be made.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    try:
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
    """Open and lock a file, made if need be; None if another holds it."""
    while True:
        file = path.open("ab")
        if lock(file):
            return file
        removed = os.fstat(file.fileno()).st_nlink == 0
        file.close()
        if not removed:
            return None


def _holder(path: Path) -> str:
    with suppress(OSError):
        number = path.read_bytes()[:20]
        return f" ({number.decode()})" if number.isdigit() else ""
    return ""
