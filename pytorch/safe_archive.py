"""Reading archives of tensors, as torch writes them, that may come from a stranger."""

import io
import zipfile
from typing import Any

import torch

from pytorch.plain_content import check_plain


def dumps(content: Any) -> memoryview:
    """Write plain containers and tensors as ``torch.save`` does, which hides why a file cannot be written."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def loads(content: bytes) -> Any:
    """Rebuild plain containers and tensors, on the CPU.

    Raises:
        ValueError: It is no archive of torch, or holds more than that; damaged, or made to fill the memory.
    """
    _check_sizes(content)
    try:
        value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whose text is long, and recommends to load the file unsafely
        raise ValueError("damaged, or more than tensors") from error
    check_plain(value, torch.Tensor, len(content))
    _check_tensors(value, len(content))
    return value


def _check_sizes(content: bytes) -> None:
    """Check that the archive has nothing compressed in it, as torch writes it: a bomb would be."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except Exception as error:  # a damaged directory makes any
        raise ValueError("it is no archive") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it has compressed parts")
    if sum(entry.file_size for entry in entries) > len(content):
        raise ValueError("its parts are larger than itself")


def _check_tensors(value: Any, size: int) -> None:
    """Check that tensors are dense, and have no more elements than the file has bytes."""
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _check_tensors(part, size)
    elif isinstance(value, torch.Tensor) and not (
        value.layout == torch.strided and value.device.type == "cpu" and value.nbytes <= size
    ):
        raise ValueError("it has tensors of an unusual kind")
