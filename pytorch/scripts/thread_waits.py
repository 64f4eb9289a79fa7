"""How long a waiting thread keeps its core, which matters when other programs use the cores too.

PyTorch splits each operation among the cores, and threads that finish first wait for the rest. On Linux it brings the
OpenMP library of GCC, which by default lets them spin for milliseconds. On a shared core, a spinning thread may block
the very thread it waits for. Each of the thousands of operations in a forward pass then takes milliseconds, and a run
becomes several times slower. Spinning for a tenth of a millisecond costs nothing measurable on idle cores.

The OpenMP library reads the setting once, when it is loaded: a script must call this before it imports torch.

Source:
    GNU libgomp, chapter 4, Environment Variables: GOMP_SPINCOUNT, OMP_WAIT_POLICY.
"""

import os

SPINS = 10_000
"""About 0.1 ms; the library's default is 300,000."""


def wait_briefly() -> None:
    """Let waiting threads fall asleep soon, unless the user has set one of the two environment variables.

    For scripts only, before they import torch. Child processes inherit the setting; other OpenMP libraries ignore it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
