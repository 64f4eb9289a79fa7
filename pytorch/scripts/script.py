"""Running a script: the settings of its process, and one line for each error."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from pytorch.errors import ReportedError, one_line
from pytorch.experiments.provenance import running_commit
from pytorch.scripts.allocation import keep_freed_memory
from pytorch.scripts.interruption import INTERRUPTED, leave_when_interrupted, raise_when_interrupted
from pytorch.scripts.options import Parser, parse
from pytorch.scripts.thread_waits import wait_briefly

OUT_OF_MEMORY = "out of memory: use a smaller --batch-size, or fewer --samples"

MEMORY_SIGNS = "can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED"
"""Parts of PyTorch's messages when memory runs out; not all of these errors have a type of their own."""

FAILURE = 1
"""Exit code."""

KNOWN_ERRORS = (ReportedError, OSError, MemoryError, RuntimeError)
"""Errors that ``error_line`` may describe; a RuntimeError only if memory ran out or the GPU is unsupported."""


def start(parser: Parser) -> None:
    """Prepare the process, then answer ``--help`` or a wrong command line.

    A script calls this before it imports torch, which takes seconds.
    """
    leave_when_interrupted()
    wait_briefly()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: the caller closed it
        # A redirected log shows lines at once, and characters that a terminal lacks stop nothing.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    parse(parser, None)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and exit: 0 done, 1 failed with one line, 130 interrupted."""
    raise_when_interrupted()
    keep_freed_memory()
    running_commit()
    try:
        code = main() or 0
    except BrokenPipeError:  # the reader, such as `head -1`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILURE
    except KNOWN_ERRORS as error:
        print(f"{Path(sys.argv[0]).name}: error: {one_line(error_line(error))}", file=sys.stderr)
        code = FAILURE
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("\ninterrupted: every file is complete; run the same command again", file=sys.stderr)
    leave_when_interrupted()
    with suppress(BrokenPipeError, AttributeError):  # stdout may be None
        sys.stdout.flush()
    sys.exit(code)


def error_line(error: BaseException) -> str:
    """Describe an error that a user can fix.

    Raises:
        BaseException: The error itself, if a user cannot fix it.
    """
    if isinstance(error, ReportedError):
        return str(error)
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in MEMORY_SIGNS):
        return OUT_OF_MEMORY
    if "no kernel image is available" in str(error):
        return "this PyTorch does not support the GPU of this machine: use --device cpu"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    raise error
