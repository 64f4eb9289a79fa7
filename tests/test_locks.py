"""Locks, interruptions and pipes: runs that meet each other, or that somebody ends."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import DRAW, MEASURE, ROOT, TRAIN, assert_one_line, begin, heed_interruptions, run

from pytorch.errors import FileError
from pytorch.files.lock import sole_run
from pytorch.files.whole_file import whole_file
from pytorch.scripts.interruption import INTERRUPTED


def test_a_task_is_done_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "new" / "folder" / ".lock"
    with sole_run(path, "counting"):
        assert path.read_text() == str(os.getpid())
        with (
            pytest.raises(FileError, match=rf"another process \({os.getpid()}\) is counting right now"),
            sole_run(path, "counting"),
        ):
            pass
        with sole_run(path.with_name(".other"), "something else"):
            pass
    assert not any(tmp_path.iterdir())
    with sole_run(path, "counting"):
        path.with_name("result").touch()
    assert [found.name for found in path.parent.iterdir()] == ["result"]


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "text"])
def test_a_lock_file_that_is_something_else_is_left_alone(tmp_path, kind):
    path, other = tmp_path / ".lock", tmp_path / "mine"
    other.write_text("precious")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "hard link":
        path.hardlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("precious")
    with pytest.raises(FileError, match=r"is not a lock file|cannot be written: Too many levels"), sole_run(path, "it"):
        pass
    assert other.read_text() == "precious"
    assert kind != "text" or path.read_text() == "precious"


def test_what_lives_is_not_removed_where_there_are_no_locks(tmp_path, monkeypatch):
    def unknown(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("pytorch.files.lock.fcntl.flock", unknown)
    test_two_writers_of_one_file_both_succeed(tmp_path)


def test_a_lock_dies_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path\n"
         "from pytorch.files.lock import sole_run\n"
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
def test_the_same_command_twice_at_once(home, script, lock, task):
    """One works; the other says so and leaves."""
    with sole_run(home / lock, "this test"):
        assert_one_line(run(home, *script), 1, f"error: another process ({os.getpid()}) is {task} right now: wait")
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


@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_an_interruption_at_the_start(tmp_path, delay):
    """While torch is imported, which begins when the first module of ours has been."""
    starting = tmp_path / "started"
    code = (
        "import sys, runpy, pathlib; import pytorch.scripts.interruption as module\n"
        "call = module.leave_when_interrupted\n"
        f"module.leave_when_interrupted = lambda: (call(), pathlib.Path({str(starting)!r}).touch())\n"
        f"sys.argv = {[str(ROOT / TRAIN[0]), *TRAIN[1:]]!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interruptions,
    )  # fmt: skip
    while not starting.exists():
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert errors == "\ninterrupted: no work was in progress, and every file is complete\n"


def test_an_interruption_of_the_work(tmp_path):
    process = begin(tmp_path, "experiment_rotation.py", "simple_conv", "digits", "--samples", "200", "--epochs", "99")
    for line in process.stdout:
        if "epoch 2" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert errors == "\ninterrupted: every file is complete; run the same command again\n"
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"unrotated.checkpoint"}
    again = begin(tmp_path, "experiment_rotation.py", "simple_conv", "digits", "--samples", "200", "--epochs", "99")
    for line in again.stdout:
        if "continued after epoch" in line:
            break
    else:
        pytest.fail("it was begun anew")
    again.kill()
    again.communicate()


def test_a_pipe_that_nobody_reads_ends_the_work_quietly(home):
    reader, writer = os.pipe()
    os.close(reader)
    process = run(home, *DRAW, stdout=writer)
    os.close(writer)
    assert (process.returncode, process.stderr) == (1, "")
