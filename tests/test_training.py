"""Training: what a model sees, in which mode, and that the same seed gives the same weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytorch.datasets import Normalization, Split
from pytorch.errors import TrainingError
from pytorch.evaluation import accuracies, accuracy
from pytorch.evaluation_mode import evaluation_mode
from pytorch.recipes import Recipe, recipe_for
from pytorch.training import train
from pytorch.transformations import rotate

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, rotated_epochs=2, batch_size=4)
PIXELS = Normalization((0.0,), (1.0,))


class Spy(nn.Module):
    """A linear classifier that keeps its mode and its inputs of every forward pass."""

    def __init__(self, classes=2):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(81, classes)
        self.dropout = nn.Dropout(0.1)
        self.modes, self.inputs = [], []

    def forward(self, inputs):
        self.modes.append(self.training)
        self.inputs.append(inputs.clone())
        return torch.log_softmax(self.linear(self.dropout(inputs.flatten(1))), dim=1)


@pytest.fixture
def split():
    """Ten images of an L, each with a number of its own in a pixel off the centre; two classes."""
    images = torch.zeros(10, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 2:7, 3] = 255
    images[:, 0, 6, 3:6] = 255
    images[:, 0, 4, 4] = torch.arange(10, 20, dtype=torch.uint8)
    return Split(images, torch.arange(10) % 2)


def run(model, split, rotated=False, seed=0, recipe=RECIPE):
    return train(model, split, PIXELS, recipe, rotated=rotated, seed=seed, device=CPU)


def test_every_epoch_trains_in_training_mode(split):
    """Also after an evaluation in between, which puts every module back in its own mode."""
    spy = Spy()

    def evaluate(weight):
        accuracy(spy, split, PIXELS, None, batch_size=10, device=CPU)

    spy.linear.weight.register_post_accumulate_grad_hook(evaluate)
    run(spy, split)
    trained = spy.modes[::2]
    assert len(trained) == 3 * 3
    assert all(trained)
    assert not any(spy.modes[1::2])
    with evaluation_mode(spy):
        assert not spy.dropout.training
    assert spy.dropout.training


def test_training_leaves_no_epoch_in_evaluation_mode(split):
    spy = Spy().eval()
    run(spy, split)
    assert all(spy.modes)


def test_the_unrotated_model_sees_every_sample_unmodified_once_an_epoch(split):
    spy = Spy()
    run(spy, split)
    seen = torch.cat(spy.inputs)
    assert len(seen) == 30
    expected = split.images.float() / 255
    orders = []
    for epoch in seen.split(10):
        order = (epoch[:, 0, 4, 4] * 255).round().long() - 10
        assert order.sort().values.tolist() == list(range(10))
        torch.testing.assert_close(epoch, expected[order])
        orders.append(order.tolist())
    assert orders[0] != orders[1]
    assert [len(batch) for batch in spy.inputs[:3]] == [4, 3, 3]


def test_the_rotated_model_sees_the_same_samples_each_at_an_angle_of_its_own(split):
    upright, turned = Spy(), Spy()
    run(upright, split)
    run(turned, split, rotated=True)
    same_order = torch.cat(upright.inputs)[:20]
    seen = torch.cat(turned.inputs)
    assert len(seen) == 20
    angles = [best_angle(before[None], after[None]) for before, after in zip(same_order, seen, strict=True)]
    assert len(set(angles)) > 15
    assert min(angles) < -60
    assert max(angles) > 60


def best_angle(before, after):
    """By how many degrees, of every third, ``before`` comes nearest to ``after``."""
    candidates = torch.arange(-180.0, 180, 3)
    turned = rotate(before.expand(len(candidates), -1, -1, -1), candidates)
    distances = (turned - after).square().sum(dim=(1, 2, 3))
    assert distances.min() < 0.15, "the image is no rotation of the sample"
    return candidates[distances.argmin()].item()


def test_the_same_seed_gives_the_same_weights(split):
    models = [Spy() for _ in range(3)]
    histories = [run(model, split, rotated=True, seed=seed) for model, seed in zip(models, (5, 5, 6), strict=True)]
    weights = [model.linear.weight for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert [epoch.loss for epoch in histories[0]] == [epoch.loss for epoch in histories[1]]


def test_the_global_generator_is_left_alone(split):
    spy = Spy()
    before = torch.get_rng_state()
    run(spy, split, rotated=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_simple_task_is_learned(split):
    images = split.images.clone()
    images[1::2] = images[1::2].flip(3)
    model = Spy()
    task = Split(images, split.labels)
    history = run(model, task, recipe=replace(RECIPE, epochs=30, learning_rate=0.01))
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].accuracy == 1
    assert accuracy(model, task, PIXELS, None, batch_size=3, device=CPU) == 1


def test_a_diverging_run_is_reported(split):
    with pytest.raises(TrainingError, match="the loss became nan in epoch"):
        train(Spy(), split, Normalization((float("nan"),), (1.0,)), RECIPE, rotated=False, seed=0, device=CPU)


class ReadsTheCentre(nn.Module):
    """Predicts class 1 where the image's right half is the brighter one."""

    def forward(self, inputs):
        side = inputs[:, :, :, 5:].sum(dim=(1, 2, 3)) - inputs[:, :, :, :4].sum(dim=(1, 2, 3))
        return torch.stack([-side, side], dim=1)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 8])
def test_accuracy_counts_every_sample(batch_size):
    images = torch.zeros(7, 1, 9, 9, dtype=torch.uint8)
    images[:5, :, :, 6] = 255
    images[5:, :, :, 1] = 255
    task = Split(images, torch.tensor([1, 1, 1, 1, 0, 0, 1]))
    model = ReadsTheCentre()
    assert accuracy(model, task, PIXELS, None, batch_size, CPU) == 5 / 7
    half_turn = torch.full((7,), 180.0)
    assert accuracy(model, task, PIXELS, half_turn, batch_size, CPU) == 2 / 7


def test_rotated_data_are_the_same_in_every_call(split):
    spies = [Spy().eval(), Spy().eval()]
    for spy in spies:
        accuracies(spy, split, PIXELS, batch_size=10, device=CPU)
    assert torch.equal(spies[0].inputs[1], spies[1].inputs[1])
    assert not torch.equal(spies[0].inputs[0], spies[0].inputs[1])


def test_recipes():
    assert recipe_for("resnet", "folder-pets") == recipe_for("resnet", "cifar10")
    recipe = recipe_for("simple_conv", "mnist")
    assert recipe.with_options(None, None, None) == recipe
    assert recipe.with_options(1, 5, 32).rotated_epochs == 5
    assert recipe.with_options(1, 5, 32).batch_size == 32
