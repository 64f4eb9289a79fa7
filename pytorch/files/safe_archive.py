"""Reading archives of tensors, as torch writes them, that may come from a stranger."""

import io
import zipfile
from typing import Any, BinaryIO

import torch

from pytorch.files.pickle_program import PLAIN, check_program
from pytorch.files.plain_content import check_plain

INSTRUCTIONS = PLAIN | {"BINPUT", "LONG_BINPUT", "GLOBAL", "BINPERSID"}
"""What plain containers and tensors become when torch saves them."""

NAMES = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    *(
        f"torch {kind}Storage"
        for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    ),
}
"""What rebuilds them: dense tensors, and no others."""


def dumps(content: Any) -> memoryview:
    """Write plain containers and tensors as ``torch.save`` does, which hides why a file cannot be written.

    Raises:
        MemoryError: There is not enough of it.
    """
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except RuntimeError as error:  # writing into memory fails in no other way
        raise MemoryError from error
    return buffer.getbuffer()


def loads(content: bytes) -> Any:
    """Rebuild plain containers and tensors, on the CPU.

    Raises:
        ValueError: It is no archive of torch, or holds more than that; damaged, or made to fill the memory.
    """
    try:
        value = torch.load(_rewritten(content), map_location="cpu", weights_only=True)
    except ValueError:
        raise
    except Exception as error:  # whose text is long, and recommends to load the file unsafely
        raise ValueError("damaged, or more than tensors") from error
    check_plain(value, torch.Tensor, len(content))
    return value


def _rewritten(content: bytes) -> BinaryIO:
    """Copy what Python finds in an archive into a new one, so that torch cannot find anything else in it.

    Raises:
        ValueError: Parts are compressed, as bombs are, or larger together than the whole; or the pickle among them
            does more than to rebuild plain containers and tensors.
    """
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(copy, "w") as clean:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("it has compressed parts")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ValueError("its parts are larger than itself")
            for entry in entries:
                part = archive.read(entry)
                if entry.filename.endswith(".pkl"):
                    check_program(part, INSTRUCTIONS, NAMES)
                clean.writestr(zipfile.ZipInfo(entry.filename), part)
    except ValueError:
        raise
    except Exception as error:  # a damaged directory makes any
        raise ValueError("it is no archive") from error
    copy.seek(0)
    return copy
