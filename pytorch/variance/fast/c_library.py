"""Compile ``statistics.c`` and ``reading.c`` where there is a C compiler, once for each processor, and load them."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch

SOURCES = [Path(__file__).with_name(name) for name in ("statistics.c", "reading.c")]
REALS = {torch.float32: "float", torch.float64: "double"}
FLAGS = ["-O3", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC"]
INSTRUCTIONS = {
    "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"],
    "AVX2": ["-mavx2", "-mfma"],
}
"""Options for the instructions that PyTorch found, which another machine with the same home may lack."""

SWITCH = "VARIANCE_COMPILED"
"""Environment variable: 0 reads activations and computes their statistics by PyTorch operations."""


@cache
def c_library(kind: torch.dtype) -> ctypes.CDLL | None:
    """Return the functions in C for activations of a type; None: use PyTorch operations.

    A compiled library is kept in the user's cache, under a name that changes with its source and its options.

    Args:
        kind: float32 or float64.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or os.environ.get(SWITCH) == "0" or sys.platform == "win32":
        return None
    options = [*FLAGS, *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), []), f"-DREAL={REALS[kind]}"]
    sources = [source.read_bytes() for source in SOURCES]
    name = hashlib.sha256(repr((sources, options, compiler, sys.platform)).encode()).hexdigest()[:20]
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "variance-experiments"
        library = folder / f"{name}.so"
        if not library.exists():
            _compile(compiler, options, library)
        return ctypes.CDLL(str(library))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # RuntimeError: the user has no home
        return None


def is_compiled() -> bool:
    """Return whether the functions work for activations of every type."""
    return all(c_library(kind) for kind in REALS)


def _compile(compiler: str, options: list[str], library: Path) -> None:
    """Compile in a folder of its own, so that no other process sees half a library; without OpenMP if it is missing."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [compiler, *options, "-o", str(made), *map(str, SOURCES)]
        for threading in (["-fopenmp"], []):
            done = subprocess.run([*command, *threading, "-lm"], capture_output=True, timeout=60)
            if done.returncode == 0:
                break
        done.check_returncode()
        made.replace(library)
