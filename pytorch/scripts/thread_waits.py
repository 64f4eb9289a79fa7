"""How long a thread that waits for the others keeps its core, where other programs want it too.

PyTorch splits each operation among the cores, and whoever is done first waits for the rest. The OpenMP library of GCC,
which PyTorch on Linux brings, lets it wait awake for milliseconds. On a core that another program shares that may be
the very core that the missing part needs: then each of the thousands of operations of a forward pass takes
milliseconds, and a run becomes several times slower. Awake for a tenth of a millisecond, threads miss nothing
that counts where the cores are idle (measured). This module imports nothing but the standard library, so that a script
can call it before it imports torch: the OpenMP library looks once, when it is loaded.

Source:
    GNU libgomp, chapter 4, Environment Variables: GOMP_SPINCOUNT, OMP_WAIT_POLICY.
"""

import os

SPINS = 10_000
"""Some 0.1 ms; the library's own choice is 300,000."""


def wait_briefly() -> None:
    """From now on let threads that wait fall asleep soon; whoever has chosen otherwise by these variables is heard.

    For scripts alone, before they import torch. Children inherit it. Other OpenMP libraries do not know the variable.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
