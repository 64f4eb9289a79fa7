"""A reader of torch's archives of tensors that is safe with files from strangers."""

import io
import zipfile
from typing import Any, BinaryIO

import torch

from pytorch.files.plain_content import PLAIN, check_plain, check_program

INSTRUCTIONS = PLAIN | {"BINPUT", "LONG_BINPUT", "GLOBAL", "BINPERSID"}
"""Instructions for plain containers and tensors that torch has saved."""

NAMES = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    *(
        f"torch {kind}Storage"
        for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    ),
}
"""Functions that rebuild them; only dense tensors have one here."""


def dumps(content: Any) -> memoryview:
    """Serialize plain containers and tensors as ``torch.save`` does.

    This writes to memory, because ``torch.save`` does not say why it cannot write a file.

    Raises:
        MemoryError: The memory is full.
    """
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except RuntimeError as error:  # the only way in which writing to memory fails
        raise MemoryError from error
    return buffer.getbuffer()


def loads(content: bytes) -> Any:
    """Rebuild plain containers and tensors, on the CPU.

    Raises:
        ValueError: It is not an archive of torch, contains anything else, is damaged, or would fill the memory.
    """
    try:
        value = torch.load(_rewritten(content), map_location="cpu", weights_only=True)
    except ValueError:
        raise
    except Exception as error:  # its long text suggests loading the file unsafely
        raise ValueError("damaged, or more than tensors") from error
    check_plain(value, torch.Tensor, len(content))
    return value


def _rewritten(content: bytes) -> BinaryIO:
    """Copy an archive as Python reads it, so that torch cannot read anything else in it.

    Raises:
        ValueError: Parts are compressed, as in a zip bomb, or together larger than the whole. Or the pickle does more
            than rebuild plain containers and tensors.
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
        raise ValueError("it is not an archive") from error
    copy.seek(0)
    return copy
