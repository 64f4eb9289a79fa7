"""Files that say what they are, and show whether they are as they were written.

A sealed file ends in one extra line, the seal: the name of its format, its version, and the SHA-256 of everything
before that sum. Pickles and torch archives may have trailing bytes, so such a file can be read without this project.
A seal detects accidents, not forgery: strangers can write one too.
"""

import hashlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import torch

from pytorch.available_memory import GIB, available_memory
from pytorch.files.whole_file import whole_file

SEAL = re.compile(rb"\n([a-z -]{1,60}), version ([0-9]{1,9}), sha256 ([0-9a-f]{64})\n\Z")
LONGEST_SEAL = 200

BEGINNING = 512
"""Bytes within which a file names its format."""


class UnknownVersionError(ValueError):
    """A whole file has a version that this program does not read."""


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: Name in the seal, and in the content within its first ``BEGINNING`` bytes.
        version: The version that this program writes.
        oldest: The oldest version that it reads; None: that alone.
    """

    name: str
    version: int
    oldest: int | None = None

    @property
    def versions(self) -> str:
        """The versions that this program reads."""
        return f"{self.version}" if self.oldest is None else f"{self.oldest} to {self.version}"

    def reads(self, version: int) -> bool:
        """Whether this program reads a version."""
        return (self.oldest or self.version) <= version <= self.version


def write_sealed(path: Path, form: Format, content: bytes | memoryview) -> None:
    """Write a file with its seal, whole or not at all.

    Args:
        path: Path of the file.
        form: Format for the seal.
        content: Content that names its format within its first ``BEGINNING`` bytes.

    Raises:
        FileError: It cannot be written.
    """
    label = f"\n{form.name}, version {form.version}, sha256 ".encode()
    digest = hashlib.sha256(content)
    digest.update(label)
    with whole_file(path) as file:
        file.write(content)
        file.write(label + digest.hexdigest().encode() + b"\n")


def read_sealed(path: Path, form: Format) -> bytes:
    """Read the content of a sealed file.

    Raises:
        ValueError: It is not a file, foreign, of another format, damaged, cut off, or too large for the memory.
        UnknownVersionError: It has another version of this format.
        OSError: It cannot be read.
    """
    content = _read(path)
    seal = SEAL.search(content, max(0, len(content) - LONGEST_SEAL))
    if seal is None:
        if form.name.encode() not in content[:BEGINNING]:
            raise ValueError("this program did not write it")
        raise ValueError("it is cut off, or very old: its checksum is missing")
    name, version, digest = seal[1].decode(), int(seal[2]), seal[3].decode()
    if hashlib.sha256(memoryview(content)[: seal.start(3)]).hexdigest() != digest:
        raise ValueError("it is damaged: its checksum is not the one it was written with")
    if name != form.name:
        raise ValueError(f"it is a file of another kind, {name}")
    if not form.reads(version):
        advice = "update the program" if version > form.version else "make it again, or give another file"
        raise UnknownVersionError(
            f"it has version {version} of its format, and this program reads {form.versions}: {advice}"
        )
    return content[: seal.start()]


def _read(path: Path) -> bytes:
    """Read a regular file that fits into memory; a pipe or a device might never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_size > available_memory(torch.device("cpu")) / 4:
        raise ValueError(f"it has {status.st_size / GIB:.0f} GiB, more than fits into a quarter of the memory")
    return path.read_bytes()
