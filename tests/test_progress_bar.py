"""Progress bars on a terminal and in redirected output; ``test_notebook`` has those of notebooks."""

import io
import sys

import torch

from pytorch.experiments.progress import EpochBar
from pytorch.progress_bar import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress_bar(range(3), title="counting", unit=" numbers")) == [0, 1, 2]
    text = sys.stderr.getvalue()
    assert "counting: 100%" in text
    assert "3/3" in text
    assert " numbers/s" in text


def test_redirected_output_is_silent(capsys):
    assert list(progress_bar(range(3), title="counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_without_a_title_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(title=None, total=3) as bar:
        bar.update(3)
    assert sys.stderr.getvalue() == ""


def test_an_epoch_shows_its_loss_and_the_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("pytorch.experiments.progress.SHOW_EVERY", 0)
    with EpochBar("training", 1, 3, samples=8) as bar:
        bar.update(4, torch.tensor(2.0), torch.tensor(3))
    assert "training, epoch 1/3:  50%" in sys.stderr.getvalue()
    assert "loss 0.5000, accuracy 75.00%, all epochs 00:00" in sys.stderr.getvalue()


def test_an_epoch_without_a_name_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with EpochBar(None, 1, 3, samples=8) as bar:
        bar.update(4, torch.tensor(2.0), torch.tensor(3))
    assert sys.stderr.getvalue() == ""
