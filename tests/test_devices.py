"""On every device that is here: what is found there is what is found on the CPU."""

import numpy as np
import pytest
import torch

from pytorch.datasets import load_dataset
from pytorch.experiments.evaluation import Evaluator
from pytorch.experiments.recipes import Recipe
from pytorch.experiments.training import Training
from pytorch.experiments.unit_examples import unit_examples
from pytorch.models import build_model
from pytorch.transformations import rotations
from pytorch.variance import measure_variance
from pytorch.variance.precision import autocast, usual_precision, whole_mantissas


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", data_dir=None, samples=60, seed=0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model("simple_conv", 1, 10).eval()


@pytest.mark.parametrize(("precision", "within"), [("fp32", 1e-3), ("bf16", 0.05)])
@pytest.mark.parametrize("options", [{}, {"shuffled": True}, {"tolerance": 9.0}], ids=str)
def test_a_measurement(network, digits, device, precision, within, options):
    def means(place, aggregation="mean,max"):
        found = measure_variance(
            network, digits.test.images, digits.test.labels, rotations(3), digits.normalization, aggregation, 20, place,
            precision=precision, **options,
        )  # fmt: skip
        return {name: result.layer_means("stratified") for name, result in found.items()}

    found, expected = means(device), means("cpu")
    for aggregation, layers in expected.items():
        assert found[aggregation] == pytest.approx(layers, abs=within)
    assert next(network.parameters()).device.type == "cpu"


def test_bf16_leaves_probabilities_alone(network, digits, device):
    """Those of a network that is not trained are alike but for less than a step of bfloat16."""
    found, expected = (
        measure_variance(
            network, digits.test.images, digits.test.labels, rotations(3), digits.normalization, "mean", 20, device,
            precision=precision,
        ).layer_means("stratified")["log_softmax"]
        for precision in ("bf16", "fp32")
    )  # fmt: skip
    assert found == pytest.approx(expected, abs=0.05)


def test_a_measurement_without_aggregation_in_double_precision(network, digits, device):
    model, images = build_model("simple_conv", 1, 10).double(), digits.test.images[:12].double()
    found, expected = (
        measure_variance(model, images, None, rotations(2), aggregation="none", batch_size=5, device=place)
        for place in (device, "cpu")
    )
    np.testing.assert_allclose(found.tv_all, expected.tv_all, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.sv_all, expected.sv_all, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_goes_on_from_its_state_and_is_evaluated(digits, device, precision):
    def training():
        torch.manual_seed(0)
        model = build_model("simple_conv", 1, 10).to(device)
        return Training(
            model, digits.train, digits.normalization, Recipe(2, 2, batch_size=20), rotated=True, seed=0, device=device,
            precision=precision,
        )  # fmt: skip

    first, second = training(), training()
    first.run_epoch(None)
    state = first.state_dict()
    assert {tensor.device.type for tensor in state["weights"].values()} == {"cpu"}
    second.load_state_dict(state)
    for each in (first, second):
        each.run_epoch(None)
    assert second.history[1].loss == pytest.approx(first.history[1].loss, rel=0.02)
    evaluator = Evaluator(digits.test, 10, digits.normalization, 20, device, precision)
    assert set(evaluator.accuracies(first.model)) == {"upright", "rotated"}
    assert max(evaluator.angle_curve(first.model, None).counts) == 6


def test_units_are_shown(network, digits, device):
    shown = (
        unit_examples(network, digits.test.images, "relu5", [0, 1], rotations(4), digits.normalization, device=place)
        for place in (device, "cpu")
    )
    found, expected = shown
    np.testing.assert_allclose(found.activations, expected.activations, rtol=1e-3, atol=1e-4)


def test_single_precision_is_not_cut_short(device):
    """Forwards, backwards and on the way out of an error; and afterwards everything is as it was."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True

    @whole_mantissas()
    def fail():
        with autocast("fp32", device):
            assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
        raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (True, True)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_a_device_has_a_usual_precision(device):
    assert usual_precision(device) in ("fp32", "bf16")
