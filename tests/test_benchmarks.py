"""Each benchmark runs, on work too small to time anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SMALLEST = {  # arguments, and the number of cells in the row of a network
    "measure_speed.py": ("--models simple_conv --batch-sizes 2 --samples 4 --steps 2 --rounds 1 --bf16", 7),
    "measure_zoo.py": (
        "--networks simple_conv --aggregations mean --batch-size 2 --samples 4 --steps 2 --rounds 1", 11
    ),
    "peak_memory.py": ("--models simple_conv --batch-size 2 --samples 4 --steps 2", 2),
    "compare_tmeasures.py": ("--models simple_conv --batch-size 2 --samples 4 --steps 2 --rounds 1", 7),
    "train_speed.py": ("--models simple_conv --samples 8 --rounds 1", 5),
    "ranks.py": ("simple_conv --processes 2 --samples 8 --steps 2 --rounds 1", 0),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_benchmarks_run(name):
    arguments, cells = SMALLEST[name]
    command = [sys.executable, str(ROOT / "benchmarks" / name), *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.strip())
    rows = [line for line in done.stdout.splitlines() if line.startswith("| simple_conv")]
    assert len(rows) == (cells > 0)
    assert all(len(row.strip("| ").split("|")) == cells for row in rows), rows
