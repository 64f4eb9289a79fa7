"""Locks, interruptions and pipes: runs that meet each other, or that somebody ends."""

import os
import signal
import subprocess
import sys
import time

import pytest
from matplotlib import get_cachedir
from test_scripts import ROOT, SMALL, assert_one_line, home, run  # noqa: F401

from pytorch.errors import FileError
from pytorch.file_lock import sole_run
from pytorch.interruption import INTERRUPTED
from pytorch.whole_file import whole_file

TRAIN = ("experiment_rotation.py", "simple_conv", "digits", *SMALL)
MEASURE = ("experiment_variance.py", "simple_conv", "digits", "--samples", "30", "--steps", "4")
DRAW = ("plot_variances_models.py",)


def begin(folder, script, *arguments, **options):
    environment = {**os.environ, "HOME": str(folder), "MPLCONFIGDIR": get_cachedir()}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(ROOT / script), *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_a_task_is_done_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "new" / "folder" / ".lock"
    with sole_run(path, "counting"):
        assert path.read_text() == str(os.getpid())
        with (
            pytest.raises(FileError, match=rf"another process \({os.getpid()}\) is counting just now"),
            sole_run(path, "counting"),
        ):
            pass
        with sole_run(path.with_name(".other"), "something else"):
            pass
    assert not any(tmp_path.iterdir())
    with sole_run(path, "counting"):
        path.with_name("result").touch()
    assert [found.name for found in path.parent.iterdir()] == ["result"]


def test_a_lock_dies_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path\n"
         "from pytorch.file_lock import sole_run\n"
         "with sole_run(Path(sys.argv[1]), 'waiting'): print('held', flush=True); time.sleep(60)", path],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(FileError, match=rf"\({holder.pid}\) is waiting"), sole_run(path, "waiting"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert path.exists()
    with sole_run(path, "waiting"):
        pass
    assert not path.exists()


@pytest.mark.parametrize(
    ("script", "lock", "task"),
    [
        (TRAIN, "variance_results/models/simple_conv_digits/.lock", "training simple_conv on digits"),
        (
            MEASURE,
            "variance_results/values/.simple_conv_digits_rotation_mean.pickle.lock",
            "measuring simple_conv_digits_rotation_mean",
        ),
        (DRAW, "plots/.lock", "drawing into plots"),
    ],
    ids=["train", "measure", "draw"],
)
def test_the_same_command_twice_at_once(home, script, lock, task):  # noqa: F811
    """One works; the other says so and leaves."""
    with sole_run(home / lock, "this test"):
        assert_one_line(run(home, *script), 1, f"error: another process ({os.getpid()}) is {task} just now: wait")
    assert run(home, *script).returncode == 0


def test_two_writers_of_one_file_both_succeed(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as first:
        first.write(b"first")
        with whole_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("delay", [0.1, 1.0])
def test_an_interruption_at_the_start(tmp_path, delay):
    process = begin(tmp_path, *TRAIN)
    time.sleep(delay)  # in the start of Python or while torch is imported
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (INTERRUPTED, -signal.SIGINT)
    if process.returncode == INTERRUPTED:
        assert errors.count("\n") == 2
        assert "\ninterrupted: " in errors
    assert not list(tmp_path.rglob("*.part"))


def test_an_interruption_of_the_work(tmp_path):
    process = begin(tmp_path, "experiment_rotation.py", "simple_conv", "digits", "--samples", "200", "--epochs", "99")
    for line in process.stdout:
        if "epoch 2" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert errors == "\ninterrupted: the files that are there are whole; the same command goes on from them\n"
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"unrotated.checkpoint"}
    again = begin(tmp_path, "experiment_rotation.py", "simple_conv", "digits", "--samples", "200", "--epochs", "99")
    for line in again.stdout:
        if "taken up after epoch" in line:
            break
    else:
        pytest.fail("it was begun anew")
    again.kill()
    again.communicate()


def test_a_pipe_that_nobody_reads_ends_the_work_quietly(home):  # noqa: F811
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / DRAW[0])],
        cwd=home, env={**os.environ, "HOME": str(home)}, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (process.returncode, process.stderr) == (1, "")
