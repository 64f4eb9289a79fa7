"""Training: what a model sees, in which mode, and that the same seed gives the same weights."""

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pytorch.datasets import DATASETS
from pytorch.datasets.dataset import Split
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError, TrainingError
from pytorch.experiments.evaluation import Evaluator
from pytorch.experiments.recipes import OPTIMIZERS, Recipe, recipe_for
from pytorch.experiments.training import Training
from pytorch.models import MODELS
from pytorch.transformations import rotate
from pytorch.variance.recording.left_as_found import evaluation_mode

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


def training_of(model, split, rotated=False, seed=0, recipe=RECIPE, **options):
    return Training(model, split, PIXELS, recipe, rotated=rotated, seed=seed, device=CPU, **options)


def run(model, split, **options):
    """Train to the end; the history."""
    training = training_of(model, split, **options)
    return [training.run_epoch() for _ in range(training.epochs)]


def evaluator(split, batch_size, classes=2):
    return Evaluator(split, classes, PIXELS, batch_size, CPU)


def test_every_epoch_trains_in_training_mode(split):
    """Also after an evaluation in between, which puts every module back in its own mode."""
    spy = Spy()

    def evaluate(weight):
        evaluator(split, 10).accuracy(spy)

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
    assert evaluator(task, 3).accuracy(model) == 1


def test_a_diverging_run_is_reported(split):
    with pytest.raises(TrainingError, match="the loss became nan in epoch 1: start again"):
        run(Spy(), Split(split.images, split.labels), recipe=replace(RECIPE, learning_rate=1e38))


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
    assert evaluator(task, batch_size).accuracy(model) == 5 / 7
    half_turn = torch.full((7,), 180.0)
    assert evaluator(task, batch_size).accuracy(model, half_turn) == 2 / 7


def test_rotated_data_are_the_same_in_every_call(split):
    spies = [Spy().eval(), Spy().eval()]
    for spy in spies:
        evaluator(split, 10).accuracies(spy)
    assert torch.equal(spies[0].inputs[1], spies[1].inputs[1])
    assert not torch.equal(spies[0].inputs[0], spies[0].inputs[1])


def test_the_angle_curve_counts_every_class_at_every_angle(split):
    images = torch.zeros(7, 1, 9, 9, dtype=torch.uint8)
    images[:5, :, :, 6] = 255
    images[5:, :, :, 1] = 255
    task = Split(images, torch.tensor([1, 1, 1, 1, 0, 0, 1]))
    curve = evaluator(task, 3, classes=3).angle_curve(ReadsTheCentre())
    right = dict(zip(curve.degrees, curve.right, strict=True))
    assert curve.counts == [2, 5, 0]
    assert right[0] == [1, 4, 0]
    assert right[180] == right[-180] == [1, 1, 0]
    assert len(right) == 25
    accuracy = dict(zip(curve.degrees, curve.accuracy, strict=True))
    assert accuracy[0] == evaluator(task, 7).accuracy(ReadsTheCentre()) == 5 / 7
    assert np.isnan(curve.class_accuracy[:, 2]).all()
    np.testing.assert_array_equal(curve.class_accuracy[:, 1] * 5, [row[1] for row in curve.right])


def test_the_angle_curve_turns_by_the_angle(split):
    seen = []

    class Keeps(nn.Module):
        def forward(self, inputs):
            seen.append(inputs)
            return inputs.flatten(1)[:, :2]

    curve = evaluator(split, 10).angle_curve(Keeps())
    upright = split.images.float() / 255
    for angle, found in zip(curve.degrees[:-1], seen, strict=True):
        torch.testing.assert_close(found, rotate(upright, torch.full((len(upright),), angle)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [1, 2])
def test_a_training_taken_up_again_ends_with_the_same_weights(split, optimizer, stop):
    """Bit for bit, with dropout, and by way of a file."""
    recipe = replace(RECIPE, rotated_epochs=3, optimizer=optimizer)
    whole, first, second = (training_of(Spy(), split, rotated=True, recipe=recipe) for _ in range(3))
    for _ in range(3):
        whole.run_epoch()
    for _ in range(stop):
        first.run_epoch()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    torch.rand(7)
    second.load_state_dict(torch.load(file, weights_only=True))
    while len(second.history) < second.epochs:
        second.run_epoch()
    assert torch.equal(second.model.linear.weight, whole.model.linear.weight)
    assert [epoch.loss for epoch in second.history] == [epoch.loss for epoch in whole.history]


def test_a_normalised_convolution_in_bfloat16_is_taken_up_bit_for_bit(split):
    def network():
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
        return nn.Sequential(*layers, nn.LogSoftmax(dim=1))

    whole, first, second = (training_of(network(), split, rotated=True, precision="bf16") for _ in range(3))
    for training in (whole, whole, first):
        training.run_epoch()
    second.load_state_dict(first.state_dict())
    second.run_epoch()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value)


def test_bfloat16_steps_use_the_weights_of_the_moment(split):
    """Autocast keeps converted weights: were it around the whole epoch, only the first step would see the truth."""

    class Keeps(Spy):
        def forward(self, inputs):
            scores = self.linear(inputs.flatten(1))
            parts = inputs.flatten(1), self.linear.weight, self.linear.bias
            kept.append(([part.detach().bfloat16() for part in parts], scores.detach()))
            return torch.log_softmax(scores, dim=1)

    kept = []
    run(Keeps(), split, recipe=replace(RECIPE, learning_rate=0.1), precision="bf16")
    assert len(kept) == 9
    for parts, scores in kept:
        assert torch.equal(scores, nn.functional.linear(*parts))


def test_label_smoothing_is_that_of_torch():
    scores, labels = torch.randn(8, 5), torch.arange(8) % 5
    loss = replace(RECIPE, label_smoothing=0.1).loss(scores.log_softmax(dim=1), labels)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(scores, labels, label_smoothing=0.1))


def test_out_of_memory_names_a_smaller_batch(split):
    class Hungry(Spy):
        def forward(self, inputs):
            raise torch.OutOfMemoryError

    with pytest.raises(
        TrainingError, match="out of memory with batches of 4: start again with --overwrite --batch-size 2"
    ):
        run(Hungry(), split)


def test_recipes():
    assert recipe_for("resnet", "folder-pets") == recipe_for("resnet50", "folder-flowers")
    assert recipe_for("resnet", "folder-cifar10-jpeg") == recipe_for("resnet50", "cifar10")
    assert recipe_for("resnet", "cifar10").epochs < recipe_for("resnet", "folder-pets").epochs
    recipe = recipe_for("simple_conv", "mnist")
    assert recipe.with_options(None, None, None) == recipe
    assert recipe.with_options(1, 5, 32).rotated_epochs == 5
    assert recipe.with_options(1, 5, 32).batch_size == 32
    with pytest.raises(InputError, match="unknown optimizer 'adam': choose adamw or sgd"):
        replace(recipe, optimizer="adam").optimizer_for(nn.Linear(1, 1))


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("model", MODELS)
def test_there_is_a_recipe_for_every_model_and_data_set(model, dataset):
    recipe = recipe_for(model, dataset)
    assert recipe.rotated_epochs >= recipe.epochs
    assert recipe.optimizer in OPTIMIZERS


def spoiled(state, *path, to):
    for key in path[:-1]:
        state = state[key]
    if to is None:
        del state[path[-1]]
    else:
        state[path[-1]] = to


@pytest.mark.parametrize(
    ("path", "to", "reason"),
    [
        (("weights", "linear.weight"), torch.zeros(3, 3), "size mismatch|Error"),
        (("weights",), {}, "Error"),
        (("optimizer", "state", 0, "exp_avg"), torch.zeros(7), "exp_avg is of another shape or type"),
        (("optimizer", "state", 0, "exp_avg"), None, "has other parts"),
        (("optimizer", "state", 0), 5, "is a int, not a dict"),
        (("optimizer", "param_groups", 0, "lr"), "fast", "lr is a str, not a float"),
        (("optimizer", "param_groups"), [], "has other parts"),
        (("optimizer", "param_groups", 0, "betas"), (0.9,), "betas has other parts"),
        (("optimizer", "param_groups", 0, "betas"), ("a", "b"), "betas.0 is a str, not a float"),
        (("optimizer", "param_groups", 0, "maximize"), True, "its optimizer is another"),
        (("optimizer", "param_groups", 0, "params"), [0, 0], "its optimizer is another"),
        (("schedule", "total_steps"), 3, "its schedule is another"),
        (("schedule", "last_epoch"), 1, "its schedule is another"),
        (("schedule", "step"), 1, "has other parts"),
        (("history",), [], "it has 0 epochs of 2"),
        (("history", 0, "loss"), "low", "its loss: str"),
        (("history", 0, "luck"), 1, "unexpected keyword"),
        (("history",), None, "history"),
    ],
)
def test_a_state_that_is_not_of_such_a_training_is_refused(split, path, to, reason):
    recipe = replace(RECIPE, epochs=2)
    begun = training_of(Spy(), split, recipe=recipe)
    begun.run_epoch()
    state = copy.deepcopy(begun.state_dict())
    training_of(Spy(), split, recipe=recipe).load_state_dict(copy.deepcopy(state))
    spoiled(state, *path, to=to)
    with pytest.raises(TrainingError, match=f"it is not the state of such a training .*{reason}"):
        training_of(Spy(), split, recipe=recipe).load_state_dict(state)
