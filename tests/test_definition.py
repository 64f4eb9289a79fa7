"""The measure equals its definition, for every group, aggregation and batch size; closed forms; a foil."""

import numpy as np
import pytest
import torch
from oracle import AGGREGATE, assert_agrees, st_matrices
from torch import nn
from torch.utils.data import TensorDataset

from pytorch.errors import InputError
from pytorch.models import MODELS, build_model
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.variance import measure_variance, measure_variances

# float64: sums of at most 23 terms, each good to 1e-16, of values whose spread is no less than 1e-5 of their size.
EXACT = 1e-10
# float32: activations good to some 1e-7 of their size, their spread again no less than a hundredth of it.
SINGLE = 1e-5


@pytest.mark.parametrize("aggregation", AGGREGATE)
@pytest.mark.parametrize("batch_size", [1, 3, 8, 23, 64])
def test_equals_the_definition(reusing_model, images, labels, aggregation, batch_size, device):
    transformations = rotations(5)
    result = measure_variance(
        reusing_model, images, labels, transformations, aggregation=aggregation, batch_size=batch_size, device=device
    )
    layers = st_matrices(reusing_model, images, transformations, aggregation=aggregation)
    assert_agrees(result, layers, labels, EXACT)
    assert result.classes == ["0", "1", "2"]
    assert result.class_counts.tolist() == [5, 7, 11]
    assert result.samples == 23
    assert next(reusing_model.parameters()).device.type == "cpu"


def test_dispersion_may_be_the_variance(reusing_model, images, labels):
    result = measure_variance(reusing_model, images, labels, rotations(4), dispersion="variance", batch_size=7)
    assert_agrees(result, st_matrices(reusing_model, images, rotations(4)), labels, EXACT, "variance")


def test_equals_the_definition_in_single_precision(reusing_model, images, labels):
    model, images = reusing_model.float(), images.float()
    result = measure_variance(model, images, labels, rotations(5), batch_size=9)
    assert_agrees(result, st_matrices(model, images, rotations(5)), labels, SINGLE)


def test_preprocess_comes_after_the_transformation(reusing_model, images, labels):
    """The fill of a rotation is 0 before normalisation, not after it."""
    pixels = (images * 255).to(torch.uint8)

    def normalize(batch):
        return (batch.double() - 100) / 50

    result = measure_variance(reusing_model, pixels, labels, rotations(6), preprocess=normalize)
    assert_agrees(result, st_matrices(reusing_model, pixels, rotations(6), normalize), labels, EXACT)


@pytest.mark.parametrize("aggregation", ["mean", "none"])
def test_torchvision_resnet_as_it_comes(aggregation, labels):
    """In-place, reused ReLU: every call is recorded, each with its own values."""
    torch.manual_seed(0)
    model = import_torchvision().models.resnet18(num_classes=5).double()
    images = torch.rand(9, 3, 32, 32, dtype=torch.float64)
    result = measure_variance(model, images, labels[:9], rotations(3), aggregation=aggregation, batch_size=4)
    model.eval()
    assert_agrees(result, st_matrices(model, images, rotations(3), aggregation=aggregation), labels[:9], EXACT)
    assert {"relu", "layer1.0.relu", "layer1.0.relu#2", "layer4.1.relu#2"} <= set(result.layer_names)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "resnet50")) for name in MODELS]
)
def test_the_models_of_the_project(name):
    torch.manual_seed(0)
    model = build_model(name, channels=1, classes=3).double()
    images = torch.rand(5, 1, 32, 32, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 0])
    result = measure_variance(model, images, labels, rotations(2, degrees=90), batch_size=3)
    assert_agrees(result, st_matrices(model.eval(), images, rotations(2, degrees=90)), labels, EXACT)


def test_batches_of_an_iterable(reusing_model, images, labels):
    """Batches of uneven size, in which classes come up late, give what the tensors give."""
    parts = [slice(0, 2), slice(2, 3), slice(3, 15), slice(15, 23)]
    order = labels.argsort()
    batches = [(images[order][part], labels[order][part]) for part in parts]
    result = measure_variance(reusing_model, iter(batches), None, rotations(3))
    assert_agrees(result, st_matrices(reusing_model, images, rotations(3)), labels, EXACT)


def test_batches_of_an_iterable_may_be_numpy_arrays(reusing_model, images, labels):
    batches = [(images[part].numpy(), labels[part].numpy()) for part in (slice(0, 10), slice(10, 23))]
    result = measure_variance(reusing_model, batches, None, rotations(3))
    assert_agrees(result, st_matrices(reusing_model, images, rotations(3)), labels, EXACT)


@pytest.mark.parametrize(
    ("with_labels", "form"),
    [
        (True, lambda images, labels: {"image": images, "label": labels}),
        (True, lambda images, labels: {"pixel_values": images, "labels": labels, "ids": [1]}),
        (True, lambda images, labels: [images, labels]),
        (False, lambda images, labels: {"images": images}),
        (False, lambda images, labels: (images,)),
        (False, lambda images, labels: (images, None)),
        (False, lambda images, labels: images),
    ],
)
def test_batches_of_an_iterable_come_in_several_forms(reusing_model, images, labels, with_labels, form):
    batches = [form(images[part], labels[part]) for part in (slice(0, 10), slice(10, 23))]
    result = measure_variance(reusing_model, batches, None, rotations(3))
    expected = measure_variance(reusing_model, images, labels if with_labels else None, rotations(3))
    assert result.classes == expected.classes
    for group in expected.groups:
        for layer, values in result.normalized_variance(group).items():
            np.testing.assert_allclose(values, expected.normalized_variance(group)[layer], rtol=EXACT)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"x": 1, "label": 2}, "a batch has the keys x, label: one of image, images, pixel_values is needed"),
        ({"image": 1, "images": 2}, "a batch has the keys image, images: one of"),
        ((1, 2, 3), r"a batch has 3 parts: images, \(images, labels\) or a mapping is needed"),
        ("photo.png", "images are a str: a tensor or an array is needed"),
    ],
)
def test_batches_of_an_iterable_in_other_forms_are_refused(reusing_model, batch, message):
    with pytest.raises(InputError, match=message):
        measure_variance(reusing_model, [batch], None, rotations(3))


@pytest.mark.parametrize("form", [TensorDataset, lambda images, labels: {"image": images, "label": labels}])
def test_samples_that_are_no_batches_are_refused(reusing_model, images, labels, form):
    with pytest.raises(InputError, match=r"images is a (TensorDataset|dict), not an iterable of batches: wrap"):
        measure_variance(reusing_model, form(images, labels), None, rotations(3))


def test_unlabelled_samples_have_no_classes(reusing_model, images, labels):
    labelled = measure_variance(reusing_model, images, labels, rotations(3))
    result = measure_variance(reusing_model, images, None, rotations(3))
    assert result.classes == []
    assert result.groups == ["all"]
    np.testing.assert_allclose(
        result.normalized_variance()["conv1"], labelled.normalized_variance()["conv1"], rtol=1e-12
    )
    with pytest.raises(KeyError, match="stratified"):
        result.normalized_variance("stratified")


class Constant(nn.Module):
    """0.1 for every input: a number whose sums are not exact in binary."""

    def forward(self, inputs):
        return torch.full((len(inputs), 3), 0.1, dtype=inputs.dtype)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 23])
def test_constant_model(images, labels, batch_size):
    """TV = SV = 0 exactly, so NV = 1 by definition, and the units are counted as constant."""
    model = nn.Sequential(Constant())
    result = measure_variance(model, images, labels, rotations(7), batch_size=batch_size)
    for group in ("all", "0", "1", "2"):
        assert (result.transformation_variance(group)["0"] == 0).all()
        assert (result.sample_variance(group)["0"] == 0).all()
    for group in result.groups:
        assert (result.normalized_variance(group)["0"] == 1).all()
        counts = {"units": 3, "constant": 3, "rounding": 0, "invariant": 0, "infinite": 0, "undefined": 0}
        assert result.unit_counts(group) == counts


def test_sum_of_a_function_of_the_sample_and_one_of_the_transformation():
    """a(x, t) = f(x) + g(t): TV is the dispersion of g, SV that of f."""
    f, g = torch.tensor([0.0, 1.0, 5.0, 2.0], dtype=torch.float64), [0.0, 3.0, 4.0]
    images = f.reshape(4, 1, 1, 1).expand(4, 1, 3, 3)
    transformations = [lambda batch, offset=offset: batch + offset for offset in g]
    model = nn.Sequential(nn.AvgPool2d(3))
    result = measure_variance(model, images, None, transformations, batch_size=3)
    np.testing.assert_allclose(result.transformation_variance()["0"], np.std(g, ddof=1), rtol=1e-14)
    np.testing.assert_allclose(result.sample_variance()["0"], np.std(f.numpy(), ddof=1), rtol=1e-14)


def test_the_identity_repeated_has_no_transformation_variance(reusing_model, images, labels):
    result = measure_variance(reusing_model, images, labels, [lambda batch: batch] * 3, batch_size=10, check=False)
    for group in ("all", "0", "1", "2"):
        for name, values in result.transformation_variance(group).items():
            assert (values == 0).all(), name


def test_transformations_that_matter_alone_give_infinity(images):
    """TV > 0 = SV: inf, counted and left out of the means."""

    class Corner(nn.Module):
        def forward(self, inputs):
            return inputs[:, :, 0, 0] + 0

    same = images[:1].expand(5, -1, -1, -1)
    result = measure_variance(nn.Sequential(Corner()), same, None, rotations(4))
    assert np.isinf(result.normalized_variance()["0"]).all()
    counts = result.unit_counts()
    assert [counts[kind] for kind in ("units", "constant", "infinite", "undefined")] == [2, 0, 2, 0]
    assert np.isnan(result.global_mean())
    assert np.isnan(result.layer_means()["0"])


def test_normalized_variance_ignores_scale_and_shift(reusing_model, images, labels):
    model = nn.Sequential(nn.Conv2d(2, 4, 3)).double()
    before = measure_variance(model, images, labels, rotations(5)).normalized_variance("stratified")["0"]
    with torch.no_grad():
        model[0].weight *= -7
        model[0].bias += 3
    after = measure_variance(model, images, labels, rotations(5)).normalized_variance("stratified")["0"]
    np.testing.assert_allclose(after, before, rtol=1e-10)


def test_normalized_variance_is_the_same_under_sum_and_mean(reusing_model, images, labels):
    by_sum, by_mean = (
        measure_variance(reusing_model, images, labels, rotations(5), aggregation=aggregation)
        for aggregation in ("sum", "mean")
    )
    for name, values in by_sum.normalized_variance("stratified").items():
        np.testing.assert_allclose(values, by_mean.normalized_variance("stratified")[name], rtol=1e-9)


def test_a_large_offset_costs_no_digits(images, labels):
    """The foil: E[a²] - E[a]² fails here, the one-pass moments do not."""

    class Offset(nn.Module):
        def forward(self, inputs):
            return inputs.mean(dim=(2, 3)) + 1e8

    model = nn.Sequential(Offset())
    layers = st_matrices(model, images, rotations(5))
    table = layers[0][1]
    textbook = np.sqrt(np.abs((table**2).mean(axis=0) - table.mean(axis=0) ** 2) * 23 / 22).mean(axis=0)
    truth = table.std(axis=0, ddof=1).mean(axis=0)
    assert (np.abs(textbook / truth - 1) > 0.1).all(), "the foil no longer fails: the test shows nothing"
    # Values near 1e8 are spaced 1.5e-8 apart; means of their deviations, which are about 0.03, are good to that.
    assert_agrees(measure_variance(model, images, labels, rotations(5), batch_size=4), layers, labels, 1e-6)


def test_a_class_of_one_sample_is_undefined_and_the_others_stand(reusing_model, images):
    labels = torch.tensor([0] * 11 + [1] * 11 + [2])
    result = measure_variance(reusing_model, images, labels, rotations(3))
    assert np.isnan(result.sample_variance("2")["conv1"]).all()
    others = [result.normalized_variance(group)["conv1"] for group in ("0", "1")]
    np.testing.assert_allclose(result.normalized_variance("stratified")["conv1"], np.mean(others, axis=0))


def test_a_named_class_without_samples_is_kept(reusing_model, images):
    labels = torch.tensor([0] * 11 + [2] * 12)
    result = measure_variance(reusing_model, images, labels, rotations(3), classes=["ant", "bee", "cow"])
    assert result.classes == ["ant", "bee", "cow"]
    assert result.class_counts.tolist() == [11, 0, 12]
    assert np.isnan(result.transformation_variance("bee")["conv1"]).all()
    assert np.isfinite(result.normalized_variance("stratified")["conv1"]).all()


def test_a_nan_stays_in_its_class(images, labels):
    """A sample that becomes NaN on its way spoils its own class and no other."""
    images = images.clone()
    images[(labels == 1).nonzero()[0]] = 1000

    class Overflow(nn.Module):
        def forward(self, batch):
            return torch.where(batch > 500, torch.nan, batch)

    model = nn.Sequential(Overflow(), nn.Conv2d(2, 4, 3)).double()
    result = measure_variance(model, images, labels, [lambda batch: batch, lambda batch: 2 * batch], layers=["1"])
    assert np.isnan(result.normalized_variance("1")["1"]).all()
    assert np.isfinite(result.normalized_variance("0")["1"]).all()
    assert result.unit_counts()["undefined"] == 4


def test_what_a_model_cannot_do_is_refused(reusing_model, images, labels):
    for options, told in (
        ({"precision": "bf16"}, "precision bf16 leaves a model in float64 as it is"),
        ({"device": "mps"}, "device mps: only cpu and cuda have the float64 that the measure needs"),
    ):
        with pytest.raises(InputError, match=told):
            measure_variance(reusing_model, images, labels, rotations(2), **options)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device cuda:0: there is no CUDA device, or PyTorch was built without"):
            measure_variance(reusing_model, images, labels, rotations(2), device="cuda:0")
    for models in ({}, [reusing_model]):
        with pytest.raises(InputError, match="models must be a mapping with at least one model"):
            measure_variances(models, images, labels, rotations(2))
    reusing_model.linear.to("meta")
    with pytest.raises(InputError, match=r"the model is on several devices \(cpu, meta\): move it to one of them"):
        measure_variance(reusing_model, images, labels, rotations(2))
