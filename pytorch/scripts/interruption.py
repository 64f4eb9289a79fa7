"""Ctrl-C while a script starts or ends: it leaves at once, with a line instead of a traceback.

Importing torch alone takes seconds, in which nothing has been begun. This module imports nothing but the standard
library, so that a script can call it first.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit code: 128 and the number of the signal, as shells have it."""


def leave_when_interrupted() -> None:
    """From now on leave at Ctrl-C without unwinding, until ``raise_when_interrupted``; for scripts alone."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, _leave)


def raise_when_interrupted() -> None:
    """From now on raise KeyboardInterrupt at Ctrl-C, as Python usually does."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    os.write(sys.__stderr__.fileno(), b"\ninterrupted: nothing was under way, and every file that is there is whole\n")
    os._exit(INTERRUPTED)
