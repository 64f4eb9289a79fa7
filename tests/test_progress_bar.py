"""Progress bars on a terminal and in redirected output; ``test_notebook`` has those of notebooks."""

import io
import re
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytorch.errors import InputError
from pytorch.experiments.progress import EpochBar
from pytorch.progress_bar import progress_bar
from pytorch.transformations import rotations
from pytorch.variance import measure_variance, measure_variances, single_pass


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
        bar.update(4, 2, torch.tensor(1.0), torch.tensor(1))
    assert "training, epoch 1/3:  50%" in sys.stderr.getvalue()
    assert "loss 0.5000, accuracy 50.00%, all epochs 00:00" in sys.stderr.getvalue()


def test_an_epoch_without_a_name_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with EpochBar(None, 1, 3, samples=8) as bar:
        bar.update(4, 4, torch.tensor(2.0), torch.tensor(3))
    assert sys.stderr.getvalue() == ""


class Again:
    """Batches of three images that can be gone through again."""

    def __init__(self, count, samples):
        self.count, self.samples, self.iterations = count, samples, 0

    def __iter__(self):
        self.iterations += 1
        return iter(torch.rand(self.count, 1, 8, 8, generator=torch.Generator().manual_seed(0)).split(3))


def shown(monkeypatch, images, *networks):
    """Last count and total on the bar of a measurement."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    networks = dict(enumerate(networks or [nn.Conv2d(1, 2, 3)]))
    results = measure_variances(networks, images, None, rotations(2), progress="measuring")
    counts = re.findall(r"(\d+)/(\d+|\?) \[|(\d+) images \[", sys.stderr.getvalue())
    return counts[-1], results


IMAGES = TensorDataset(torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("images", "total"),
    [
        (IMAGES.tensors[0], 10),
        (Again(10, 10), 10),
        (Again(10, 12), 12),
        (Again(10, None), None),
        (Again(10, True), None),
        (Again(10, "10"), None),
        (DataLoader(IMAGES, 3), 10),
        (DataLoader(IMAGES, 4, shuffle=True), 10),
        (DataLoader(IMAGES, 3, sampler=[0, 5, 5, 9]), 4),
        (DataLoader(IMAGES, 3, sampler=iter([0, 5, 5, 9])), None),
        (DataLoader(IMAGES, 3, drop_last=True), None),
        (DataLoader(IMAGES, 3, collate_fn=lambda rows: torch.cat([row[0] for row in rows]).unsqueeze(1)), None),
        (DataLoader(IMAGES, batch_sampler=[[0, 1], [2]]), None),
        (DataLoader([torch.rand(4, 1, 8, 8)], batch_size=None), None),
        (iter(DataLoader(IMAGES, 3)), None),
        ([torch.rand(4, 1, 8, 8)], None),
    ],
)
def test_the_bar_of_a_measurement_has_a_total_where_it_is_certain(monkeypatch, images, total):
    (count, of, alone), results = shown(monkeypatch, images)
    assert of == ("" if total is None else str(total))
    assert results[0].samples_offered == total
    assert results[0].samples == int(count or alone)


def test_an_iterator_has_no_total(monkeypatch):
    """Part of it may be used."""

    class Once(Again):
        def __next__(self):
            return next(self.rest)

        def __iter__(self):
            self.rest = super().__iter__()
            return self

    assert shown(monkeypatch, Once(10, 10))[1][0].samples_offered is None


def test_more_samples_than_announced_are_refused():
    with pytest.raises(InputError, match="the batches have more than the 8 samples that Again announces"):
        measure_variance(nn.Conv2d(1, 2, 3), Again(10, 8), None, rotations(2))


@pytest.mark.parametrize(("again", "iterations"), [(True, 3), (False, 1)])
def test_what_is_too_large_together_goes_through_the_samples_again(monkeypatch, again, iterations):
    networks = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3)
    batches = Again(10, 10 if again else None)
    expected = [measure_variance(network, IMAGES.tensors[0], None, rotations(2)) for network in networks]
    monkeypatch.setattr(single_pass, "check_memory", lambda *sizes: False)
    _, results = shown(monkeypatch, batches, *networks)
    assert batches.iterations == iterations
    for index, alone in enumerate(expected):
        assert results[index].samples == 10
        for name, values in alone.normalized_variance("all").items():
            np.testing.assert_allclose(results[index].normalized_variance("all")[name], values, rtol=1e-4)
