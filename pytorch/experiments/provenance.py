"""The origin of numbers: command, machine, commit and versions."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the numbers depend on."""
    import numpy as np
    import torch

    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


@cache
def running_commit() -> str:
    """Name the commit of this code at the first call: running code does not change."""
    return commit(Path(__file__))


def commit(file: Path) -> str:
    """Name the commit of a file's repository, with ``+changes`` if tracked files differ; empty if there is none.

    Args:
        file: A tracked file; an untracked one has no commit.
    """
    questions = (
        ("ls-files", "--error-unmatch", file.name),
        ("rev-parse", "--short=12", "HEAD"),
        ("status", "--porcelain", "--untracked-files=no"),
    )
    try:
        _, head, changes = (
            subprocess.run(
                ["git", "-C", str(file.parent), *question],
                capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL,
            ).stdout.strip()
            for question in questions
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}+changes" if changes else head


def command_line(script: str, arguments: Sequence[str] | None) -> str:
    """Return the command that a person would type to run a script again.

    Args:
        script: File of the script.
        arguments: Arguments given to its ``main``; None: the arguments of this process.

    >>> command_line("/somewhere/plot_variances_models.py", ["--plots-dir", "my plots"])
    "python plot_variances_models.py --plots-dir 'my plots'"
    """
    launcher = ["python"]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        launcher = ["torchrun", "--nproc-per-node", os.environ["LOCAL_WORLD_SIZE"]]
        launcher += ["--nnodes", nodes] if (nodes := os.environ["GROUP_WORLD_SIZE"]) != "1" else []
    return shlex.join([*launcher, Path(script).name, *(sys.argv[1:] if arguments is None else arguments)])


def file_digest(path: Path) -> str:
    """Return sixteen hexadecimal digits that depend on the content of a file alone."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def machine(device: "torch.device") -> str:
    """Name the processor of a device, and say how many processes share the work, if torchrun has started them."""
    import torch  # not above: scripts ask for the commit before they need torch

    processes = f", {os.environ['WORLD_SIZE']} processes" if "TORCHELASTIC_RUN_ID" in os.environ else ""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + processes
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' * (threads != 1)}{processes}"


def now() -> str:
    """Return the time in UTC, as ``2026-01-31 12:00 UTC``."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
