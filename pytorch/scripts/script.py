"""How a script runs: with the settings of its process, and with errors told in one line."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import torch

from pytorch.errors import ReportedError, one_line
from pytorch.experiments.provenance import running_commit
from pytorch.scripts.allocation import keep_freed_memory
from pytorch.scripts.interruption import INTERRUPTED, leave_when_interrupted, raise_when_interrupted

OUT_OF_MEMORY = "out of memory: batches (--batch-size) or the choice of --samples must be smaller"

MEMORY_SIGNS = "can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED"
"""In errors of PyTorch that have no type of their own."""

FAILURE = 1
"""Exit code."""

KNOWN_ERRORS = (ReportedError, OSError, MemoryError, RuntimeError)
"""What ``told`` can tell; of RuntimeErrors those alone that are of memory."""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and exit: 0 done, 1 failed with one line, 130 interrupted."""
    raise_when_interrupted()
    keep_freed_memory()
    running_commit()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by whoever called
        # Lines of long work show up in a redirected log as they come, and what a terminal cannot show stops nothing.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        code = main() or 0
    except BrokenPipeError:  # of `| head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILURE
    except KNOWN_ERRORS as error:
        print(f"{Path(sys.argv[0]).name}: error: {one_line(told(error))}", file=sys.stderr)
        code = FAILURE
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("\ninterrupted: the files that are there are whole; the same command goes on from them", file=sys.stderr)
    leave_when_interrupted()
    with suppress(BrokenPipeError, AttributeError):  # it may be None
        sys.stdout.flush()
    sys.exit(code)


def told(error: Exception) -> str:
    """Say what went wrong, for people.

    Raises:
        Exception: The same, if it is none that a user can mend.
    """
    if isinstance(error, ReportedError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in MEMORY_SIGNS):
        return OUT_OF_MEMORY
    if "no kernel image is available" in str(error):
        return "this PyTorch was not built for the GPU that is here: --device cpu computes without it"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    raise error
