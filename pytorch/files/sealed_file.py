"""Files that say what they are, in which version, and whether they are as they were written.

A sealed file is its content and one line more, the seal: the name of its format, its version, and the SHA-256 of all
that stands before that sum. Pickles and the archives of torch may be followed by other bytes, so that whoever wants to
reads such a file without this project. A seal keeps off accidents, not strangers, who can make one too.
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
"""Bytes within which a file of ours, sealed or older, names its format."""


class UnknownVersionError(ValueError):
    """A file is whole, but of a version that this program does not read."""


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: Stands in its seal and at its beginning.
        version: That is written.
        oldest: Version that is still read.
        sealed_since: The first version that had a seal.
    """

    name: str
    version: int
    oldest: int
    sealed_since: int

    def check_version(self, version: object) -> None:
        """Check that this version can be read.

        Raises:
            ValueError: It is no version at all.
            UnknownVersionError: It cannot.
        """
        if not isinstance(version, int):
            raise ValueError("its version is no number")
        found = f"it has version {version} of its format, and this program reads {self._readable}"
        if version > self.version:
            raise UnknownVersionError(f"{found}: update the program")
        if version < self.oldest:
            raise UnknownVersionError(f"{found}: remove it or make it anew")

    @property
    def _readable(self) -> str:
        return f"{self.oldest} to {self.version}" if self.oldest < self.version else str(self.version)


def write_sealed(path: Path, form: Format, content: bytes | memoryview) -> None:
    """Write a file with its seal, whole or not at all.

    Args:
        path: Where to.
        form: Whose name and version stand in the seal.
        content: Must name its format within its first bytes, ``BEGINNING`` of them.

    Raises:
        FileError: It cannot be written.
    """
    label = f"\n{form.name}, version {form.version}, sha256 ".encode()
    digest = hashlib.sha256(content)
    digest.update(label)
    with whole_file(path) as file:
        file.write(content)
        file.write(label + digest.hexdigest().encode() + b"\n")


def read_sealed(path: Path, form: Format) -> tuple[bytes, int | None]:
    """Read the content of a file, and say in what version it is.

    Returns:
        The content, and its version; None, if there is no seal: it may be of an older version, or cut off.

    Raises:
        ValueError: It is no file, foreign, of another format or version, damaged, or larger than the memory.
        OSError: It cannot be read.
    """
    content = _read(path)
    seal = SEAL.search(content, max(0, len(content) - LONGEST_SEAL))
    if seal is None:
        if form.name.encode() not in content[:BEGINNING]:
            raise ValueError("it is a file of something else")
        return content, None
    name, version, digest = seal[1].decode(), int(seal[2]), seal[3].decode()
    if hashlib.sha256(memoryview(content)[: seal.start(3)]).hexdigest() != digest:
        raise ValueError("it is damaged: its checksum is not the one it was written with")
    if name != form.name:
        raise ValueError(f"it is a file of another kind, {name}")
    form.check_version(version)
    return content[: seal.start()], version


def _read(path: Path) -> bytes:
    """Read a file that fits into memory; neither a pipe, which may never end, nor a device."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no file")
    if status.st_size > available_memory(torch.device("cpu")) / 4:
        raise ValueError(f"it has {status.st_size / GIB:.0f} GiB, more than fits into a quarter of the memory")
    return path.read_bytes()
