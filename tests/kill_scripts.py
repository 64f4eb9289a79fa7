"""Kill the three scripts at random moments, and see that every file that is there is whole and the next run succeeds.

    python tests/kill_scripts.py 200

Each is run in a fork of this process, so that its time goes into its work and not into importing torch; in every fourth
round it replaces what is there. Prints what was killed, and which files were then found; stops at the first that is not
whole.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the threads of a parent do not live on in a fork
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from PIL import Image

import experiment_rotation
import experiment_variance
import plot_variances_models
from pytorch.experiments.storage import load_checkpoint, load_model, load_values
from pytorch.scripts.script import run

PAIR = ("simple_conv", "digits")
COMMANDS = {
    "train": (experiment_rotation, *PAIR, "--samples", "40", "--epochs", "1", "--batch-size", "8"),
    "measure": (experiment_variance, *PAIR, "--samples", "30", "--steps", "4", "--aggregation", "mean,max"),
    "draw": (plot_variances_models, "--only", "overview,angles"),
}
CHANGED = {"train": ["--overwrite"], "measure": ["--overwrite"], "draw": ["--sort"]}
READERS = {".pt": load_model, ".new": load_model, ".checkpoint": load_checkpoint, ".pickle": load_values}
ENDS = {".html": "</html>", ".tex": "\\end{", ".md": "|", ".csv": "\n"}


def start(name: str, changed: bool) -> int:
    """Run a script in a fork; return the number of the process."""
    process = os.fork()
    if process == 0:
        with open("output.txt", "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        module, *arguments = COMMANDS[name]
        try:
            run(lambda: module.main([*arguments, *(CHANGED[name] if changed else [])]))
        except SystemExit as end:
            os._exit(end.code or 0)
        finally:
            os._exit(70)
    return process


def finish(name: str, changed: bool) -> float:
    """Run a script to its end, which must be a good one; return its seconds."""
    begun = time.perf_counter()
    _, status = os.waitpid(start(name, changed), 0)
    if status:
        raise SystemExit(f"{name} ended with {status}:\n{Path('output.txt').read_text()}")
    return time.perf_counter() - begun


def check_files() -> Counter[str]:
    """Read every file that has its name; return how many of each kind there are."""
    found = Counter()
    for path in Path().rglob("*"):
        if path.name.startswith("."):  # a lock, or a part of a file
            found[path.suffix or path.name] += 1
        elif path.is_file() and path.name != "output.txt":
            found[path.suffix or path.name] += 1
            if path.suffix in READERS:
                READERS[path.suffix](path)
            elif path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix == ".json" or path.name == "complete":
                json.loads(path.read_text())
            else:
                text = path.read_text()
                assert ENDS[path.suffix] in text[-200:], path
    return found


def main(kills: int) -> None:
    """Kill as often as asked for."""
    torch.set_num_threads(1)
    generator = random.Random(0)
    os.chdir(tempfile.mkdtemp())
    os.environ["HOME"] = os.getcwd()
    seconds = {name: max(finish(name, False), finish(name, True)) for name in COMMANDS}
    killed, too_late, files = Counter(), Counter(), Counter()
    while killed.total() < kills:
        name = list(COMMANDS)[killed.total() % 3]
        changed = generator.random() < 0.75
        if not changed:  # so that there is something to do
            for path in {"train": Path("variance_results/models"), "measure": Path("variance_results/values"),
                         "draw": Path("plots")}[name].rglob("*"):  # fmt: skip
                if path.is_file() and generator.random() < 0.5:
                    path.unlink()
        process = start(name, changed)
        time.sleep(generator.uniform(0, seconds[name]))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        (killed if os.WIFSIGNALED(status) else too_late)[name] += 1
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit(f"{name} failed:\n{Path('output.txt').read_text()}")
        files += check_files()
        finish(name, changed)  # so that the next script finds what it needs
        check_files()
        print(f"\r{killed.total()} of {kills}", end="", file=sys.stderr, flush=True)
    print(f"\nkilled: {dict(killed)}; done before: {dict(too_late)}")
    print(f"files read after a kill, whole every one: {dict(sorted(files.items()))}")
    left = check_files()
    print(f"left at the end: {dict(sorted(left.items()))}")
    if litter := [path for path in Path().rglob(".*") if path.is_file()]:
        raise SystemExit(f"litter of killed runs is left: {', '.join(map(str, litter))}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
