"""Sealed files of one content, inside a dict that names their format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pytorch.errors import FileError, one_line
from pytorch.files.sealed_file import Format, UnknownVersionError, read_sealed, write_sealed

Content = TypeVar("Content")


def save(path: Path, form: Format, content: dict[str, Any], dumps: Callable[[Any], bytes | memoryview]) -> None:
    """Write a file whole or not at all.

    Args:
        path: Path of the file.
        form: Format of the file.
        content: Plain containers and arrays.
        dumps: Serializer, as of ``safe_pickle`` or ``safe_archive``.

    Raises:
        FileError: The file cannot be written.
    """
    write_sealed(path, form, dumps({"format": form.name, "version": form.version, "content": content}))


def load(
    path: Path,
    form: Format,
    what: str,
    loads: Callable[[bytes], Any],
    rebuild: Callable[[dict[str, Any]], Content],
    check: Callable[[Content], Content] = lambda content: content,
) -> Content:
    """Read what ``save`` has written; nothing in the file is executed.

    Args:
        path: Path of the file.
        form: Format of the file.
        what: Kind of file in messages: ``"a trained model"``.
        loads: Safe reader that reverses ``dumps``.
        rebuild: Function that turns the content into an object, and raises an exception if it cannot be one.
        check: Function that returns the object, and raises an exception if it is impossible.

    Raises:
        FileError: The file is damaged, foreign, or of another version; the message is one line.
        FileNotFoundError: There is no file.
    """
    try:
        container = loads(read_sealed(path, form))
        if container["format"] != form.name or not form.reads(container["version"]):
            raise ValueError("it is not what its seal says")
        return check(rebuild(container["content"]))
    except FileNotFoundError:
        raise
    except UnknownVersionError as error:
        raise FileError(f"{path} cannot be read as {what}: {error}") from error
    except Exception as error:  # a damaged or hostile file can raise any
        reason = one_line(error, longest=200) or type(error).__name__
        raise FileError(f"{path} cannot be read as {what} ({reason}); make it again, or give another file") from error
