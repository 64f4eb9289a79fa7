"""Ctrl-C while a script starts or ends: it exits at once, with one line instead of a traceback.

Importing torch alone takes seconds, and no work has begun by then.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit code: 128 plus the signal's number, as in shells."""


def leave_when_interrupted() -> None:
    """Exit at Ctrl-C without unwinding, until ``raise_when_interrupted`` is called; for scripts only."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell ignores it in background jobs
        signal.signal(signal.SIGINT, _leave)


def raise_when_interrupted() -> None:
    """Raise KeyboardInterrupt at Ctrl-C, which is Python's default."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    os.write(sys.__stderr__.fileno(), b"\ninterrupted: no work was in progress, and every file is complete\n")
    os._exit(INTERRUPTED)
