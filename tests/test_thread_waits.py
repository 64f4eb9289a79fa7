"""Threads that wait fall asleep soon, in every script, unless the user has chosen otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytorch.scripts.thread_waits import SPINS, wait_briefly

ROOT = Path(__file__).parents[1]
CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    "command",
    [
        "experiment_rotation.py resnet digits",
        "experiment_variance.py resnet digits",
        "plot_variances_models.py",
        "reproduce_paper.py",
    ],
)
def test_the_library_is_told_before_it_is_loaded(command):
    script, *arguments = command.split()
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES}
    finished = subprocess.run(
        [sys.executable, ROOT / script, *arguments, "--device", "nowhere"],  # torch decides that it is not a device
        env={**environment, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "GOMP_SPINCOUNT" not in finished.stderr:
        pytest.skip("this torch uses another OpenMP library")
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in finished.stderr


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_of_the_user_stands(monkeypatch, name):
    for other in CHOICES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "7")
    wait_briefly()
    assert {other: os.environ[other] for other in CHOICES if other in os.environ} == {name: "7"}
