"""A training whose batches are shared among processes: in a process group, and started by torchrun."""

import json
import os
import re
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise

import pytest
import torch
import torch.distributed as dist
from commands import outcomes_of, torchrun
from torch import nn

from pytorch.datasets import load_dataset
from pytorch.errors import ReportedError
from pytorch.experiments.pair_replacement import run_pairs, take_part
from pytorch.experiments.pair_training import PairTraining
from pytorch.experiments.recipes import Recipe, recipe_for
from pytorch.experiments.storage import load_model, model_folder
from pytorch.experiments.trained_model import weights_digest
from pytorch.experiments.training import Training
from pytorch.experiments.vocabulary import PAIR

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, rotated_epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.1)
COUNT = 50
"""Batches of 13, 13, 12 and 12 samples, which two processes share as 7 and 6, or 6 and 6."""


class Network(nn.Module):
    """A network that keeps its inputs, without dropout and batch norm unless asked for."""

    def __init__(self, *parts):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 5, stride=4), *parts, nn.ReLU(), nn.Flatten(), nn.Linear(196, 10), nn.LogSoftmax(dim=1)
        )
        self.inputs = []

    def forward(self, inputs):
        self.inputs.append(inputs.clone())
        return self.layers(inputs)


def training_of(network, kind=Training, recipe=RECIPE):
    dataset = load_dataset("digits", None, samples=COUNT)
    return kind(network, dataset.train, dataset.normalization, recipe, rotated=True, seed=0, device=CPU)


class SameHalf(Training):
    """Gives every process the same part of a batch."""

    def _part(self, batch):
        return batch.tensor_split(2)[0]


class EqualWeights(Training):
    """Takes the mean of the means of parts, which may differ in size."""

    def _step(self, inputs, labels, weight):
        return super()._step(inputs, labels, 1.0)


def pair_training(folder, samples=40):
    """What the torchrun below trains."""
    recipe = recipe_for("simple_conv", "digits").with_options(2, 1, 16)
    return PairTraining(
        model="simple_conv", dataset=load_dataset("digits", None, samples, test_samples=10), recipe=recipe, seed=0,
        precision=None, device=CPU, folder=folder, overwrite=False,
    )  # fmt: skip


def work(rank, folder):
    """What each process does; it leaves the states of the trainings, and a file of what became of each."""
    os.environ["RANK"] = str(rank)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    outcomes = {}

    def tell(name, make):
        try:
            torch.save(make(), folder / f"{name}{rank}")
            outcomes[name] = "done"
        except ReportedError as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
        (folder / f"rank{rank}.json").write_text(json.dumps(outcomes))

    def trained(kind=Training, epochs=2, **options):
        training = training_of(Network(), kind, **options)
        training.share()
        for _ in range(epochs):
            training.run_epoch()
        return {"state": training.state_dict(), "inputs": training.model.inputs}

    def masks():
        dropout, kept = nn.Dropout(), []
        dropout.register_forward_hook(lambda module, inputs, output: kept.append(output == 0))
        training = training_of(Network(nn.Conv2d(4, 4, 1), dropout))
        training.share()
        training.run_epoch()
        return kept

    def pair(name, samples=40):
        trainings = [pair_training(folder / name, samples)]
        (take_part if rank else run_pairs)(trainings)

    tell("whole", trained)
    tell("half", partial(trained, epochs=1))
    tell("same", partial(trained, SameHalf))
    tell("equal", partial(trained, EqualWeights))
    tell("single", partial(trained, recipe=replace(RECIPE, batch_size=1)))
    tell("masks", masks)
    tell("pair", partial(pair, "pair"))
    tell("differing", partial(pair, "differing", 40 - 10 * rank))
    os._exit(0)  # without waiting for the other, which has stopped


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The outcomes of both processes, and their folder."""
    folder = tmp_path_factory.mktemp("shared")
    return outcomes_of(work, folder, 2), folder


def content(told, name, rank=0):
    assert told[0][rank][name] == "done"
    return torch.load(told[1] / f"{name}{rank}", weights_only=True)


@pytest.fixture(scope="module")
def alone():
    """The training of one process."""
    training = training_of(Network())
    while len(training.history) < training.epochs:
        training.run_epoch()
    return training


def near(found, expected):
    return all(torch.allclose(found[name], value, rtol=1e-4, atol=1e-7) for name, value in expected.items())


def test_processes_share_the_batches_of_one(told, alone):
    """Each sample once, in the same batch, at the same angle."""
    mine, its = (content(told, "whole", rank)["inputs"] for rank in range(2))
    assert [len(batch) for batch in mine] == [7, 7, 6, 6] * 2
    assert [len(batch) for batch in its] == [6, 6, 6, 6] * 2
    for parts, batch in zip(zip(mine, its, strict=True), alone.model.inputs, strict=True):
        torch.testing.assert_close(torch.cat(parts), batch)


def test_processes_give_the_weights_of_one(told, alone):
    found, expected = content(told, "whole")["state"], alone.state_dict()
    assert near(found["weights"], expected["weights"])
    for epoch, other in zip(found["history"], expected["history"], strict=True):
        assert epoch["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert epoch["accuracy"] == other["accuracy"]
    other = content(told, "whole", 1)["state"]
    assert weights_digest(other["weights"]) == weights_digest(found["weights"])


@pytest.mark.parametrize("name", ["same", "equal"])
def test_a_wrong_share_gives_other_weights(told, alone, name):
    """What the test above can tell apart."""
    assert not near(content(told, name)["state"]["weights"], alone.state_dict()["weights"])


def test_one_process_continues_the_training_of_two(told, alone):
    training = training_of(Network())
    training.load_state_dict(content(told, "half")["state"])
    training.run_epoch()
    assert near(training.state_dict()["weights"], alone.state_dict()["weights"])


def test_each_process_has_its_own_dropout(told):
    mine, its = (content(told, "masks", rank) for rank in range(2))
    assert not any(torch.equal(one[:6], other[:6]) for one, other in zip(mine, its, strict=True))
    assert not any(torch.equal(one[:6], other[:6]) for one, other in pairwise(mine))


def test_more_processes_than_samples_in_a_batch_are_refused(told):
    for outcomes in told[0]:
        assert outcomes["single"] == "InputError: 2 processes cannot share batches of 1 samples: start fewer"


def test_other_data_are_refused(told):
    mine, its = (outcomes["differing"] for outcomes in told[0])
    assert its.startswith("InputError: rank 0 trains with training samples 40, not 30: all processes need the same")
    assert mine == "RankError: rank 0 stops, because another rank has stopped: see what that one says"


DYING = """
import os, time
from pathlib import Path
import torch.distributed as dist
import experiment_rotation
from pytorch.experiments.training import Training
from pytorch.scripts.script import run

step, steps, mark = Training._step, [], Path("died")

def step_or_die(self, *arguments, **options):
    steps.append(self)
    if os.environ["RANK"] == "1" and len(steps) == 5 and not mark.exists():
        mark.touch()
        os._exit(1)
    return step(self, *arguments, **options)

destroy = dist.destroy_process_group

def destroy_late():
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        time.sleep(1)  # torchrun sends SIGTERM meanwhile
    destroy()

Training._step, dist.destroy_process_group = step_or_die, destroy_late
run(experiment_rotation.main)
"""


def test_torchrun_continues_after_a_process_has_died(told, tmp_path):
    """In the second step of the second epoch; the weights are those of two processes that were left alone."""
    (tmp_path / "dying.py").write_text(DYING)
    counts = {"--epochs": 2, "--rotated-epochs": 1, "--samples": 40, "--batch-size": 16, "--test-samples": 10}
    options = ["simple_conv", "digits", *chain(*counts.items())]
    process = torchrun(tmp_path, tmp_path / "dying.py", *options, restarts=1)
    assert process.returncode == 0, process.stderr
    said = [line for line in process.stderr.splitlines() if line.startswith("dying.py: ")]
    assert len(said) == 1
    assert re.fullmatch("dying.py: error: .*(another rank has stopped|torchrun has stopped rank 0): see what .*", *said)
    assert "Traceback" not in process.stderr
    assert process.stdout.count("unrotated model: continued after epoch 1, ") == 1
    assert process.stdout.count("rotated.pt") == 2
    folder = model_folder(tmp_path / "variance_results", "simple_conv", "digits")
    assert sorted(path.name for path in folder.iterdir()) == ["rotated.pt", "unrotated.pt"]
    assert content(told, "pair") is None
    for trained_on in PAIR:
        found, expected = (load_model(place / f"{trained_on}.pt") for place in (folder, told[1] / "pair"))
        assert weights_digest(found.weights) == weights_digest(expected.weights)
        assert [epoch.loss for epoch in found.history] == [epoch.loss for epoch in expected.history]
        assert found.accuracy == expected.accuracy
        assert found.machine.endswith(", 1 thread, 2 processes")
