"""The scripts as a user runs them: each in a process and a home of its own, no network, every warning an error."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from matplotlib import get_cachedir

ROOT = Path(__file__).parents[1]
SMALL = ("--epochs", "1", "--samples", "40", "--batch-size", "16")
TRAIN = ("experiment_rotation.py", "simple_conv", "digits", *SMALL)
MEASURE = ("experiment_variance.py", "simple_conv", "digits", "--samples", "30", "--steps", "4")
DRAW = ("plot_variances_models.py",)
NOWHERE = "http://127.0.0.1:9"
"""A proxy that answers nothing."""


def heed_interruptions():
    """Undo what shells do to background processes, tests among them: make them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _process(home, script, arguments):
    # MPLCONFIGDIR has the list of fonts, which takes seconds to make.
    changes = {"HOME": str(home), "MPLCONFIGDIR": get_cachedir(), "http_proxy": NOWHERE, "https_proxy": NOWHERE}
    command = [sys.executable, "-W", "error", str(ROOT / script), *map(str, arguments)]
    pipe = subprocess.PIPE
    return {
        "args": command,
        "cwd": home,
        "env": {**os.environ, **changes},
        "stdout": pipe,
        "stderr": pipe,
        "text": True,
    }


def run(home, script, *arguments, **options):
    """Run a script to its end."""
    return subprocess.run(**{**_process(home, script, arguments), **options}, timeout=300, check=False)


def torchrun(home, *arguments, restarts=0):
    """Run a script to its end by torchrun, in two processes of one thread."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}"]
    process = _process(home, *arguments[:1], arguments[1:])
    process["args"] = [sys.executable, "-m", *launcher, "--no-python", *process["args"]]
    process["env"] |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(**process, timeout=120, check=False)


def begin(home, script, *arguments):
    """Start a script."""
    return subprocess.Popen(**_process(home, script, arguments), preexec_fn=heed_interruptions)


def assert_one_line(process, code, *parts):
    """It ended with the code and one line with all parts on stderr."""
    assert process.returncode == code, process.stderr
    assert len(process.stderr.splitlines()) == 1, process.stderr
    for part in parts:
        assert part in process.stderr


def outcomes_of(work, folder, count):
    """Run a function of a rank and a folder in new processes; return what each has left in its file, rank<n>.json."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, folder)) for rank in range(count)]
    for process in processes:
        process.start()
    end = time.monotonic() + 120
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        process.kill()
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(count)]
