"""How a script runs: with the settings of its process, and with errors told in one line."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import torch

from pytorch.allocation import keep_freed_memory
from pytorch.errors import ReportedError, one_line
from pytorch.interruption import INTERRUPTED, leave_when_interrupted, raise_when_interrupted

OUT_OF_MEMORY = "out of memory: batches (--batch-size) or the choice of --samples must be smaller"

FAILURE = 1
"""Exit code."""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and exit: 0 done, 1 failed with one line, 130 interrupted."""
    raise_when_interrupted()
    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # on by default: convolutions of fp32 models with 10 bits of mantissa
    sys.stdout.reconfigure(line_buffering=True)  # lines of long work show up in a redirected log as they come
    try:
        code = main() or 0
    except ReportedError as error:
        code = _fail(str(error))
    except (torch.OutOfMemoryError, MemoryError):
        code = _fail(OUT_OF_MEMORY)
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        code = _fail(OUT_OF_MEMORY)
    except BrokenPipeError:  # of `| head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILURE
    except OSError as error:
        code = _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("\ninterrupted: the files that are there are whole; the same command goes on from them", file=sys.stderr)
    leave_when_interrupted()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.exit(code)


def _fail(message: str) -> int:
    print(f"{Path(sys.argv[0]).name}: error: {one_line(message)}", file=sys.stderr)
    return FAILURE
