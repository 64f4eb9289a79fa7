"""The definition holds for networks as they come: torchvision's, transformers, functional operations, any layers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import assert_agrees, st_matrices, variances
from torch import nn

from pytorch.errors import InputError
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.variance import measure_variance

EXACT = 1e-10  # float64; see test_definition
LABELS = torch.tensor([0, 1, 0, 1, 0, 1, 0])


def zoo_model(name):
    torch.manual_seed(0)
    models = import_torchvision().models
    if name == "vit_b_16":
        model = models.VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=5
        )
        nn.init.normal_(model.heads.head.weight)  # zero as it comes
    else:
        model = getattr(models, name)(num_classes=5)
    return model.double()


@pytest.mark.parametrize(
    ("name", "aggregations"),
    [
        ("resnet18", ["max", "none"]),
        ("mobilenet_v3_small", ["mean", "max", "none"]),
        pytest.param("densenet121", ["mean"], marks=pytest.mark.slow),
        ("vit_b_16", ["mean", "max", "none"]),
    ],
)
def test_torchvision_models_as_they_come(name, aggregations, device):
    model = zoo_model(name)
    images = torch.rand(7, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = measure_variance(
        model, images, LABELS, rotations(3), aggregation=aggregations, batch_size=4, device=device
    )
    for aggregation, result in results.items():
        layers = st_matrices(model, images, rotations(3), aggregation=aggregation)
        assert_agrees(result, layers, LABELS, EXACT, ulps=16)


def test_a_transformer_encoder_is_seen_in_spite_of_its_fast_path():
    """In evaluation mode torch would compute the whole layer in one kernel that calls no module."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(d_model=9, nhead=3, dim_feedforward=8, batch_first=True)

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)

        def forward(self, images):
            return self.encoder(images[:, 0])

    model = Rows().double()
    images = torch.rand(7, 1, 5, 9, dtype=torch.float64)
    before = torch.backends.mha.get_fastpath_enabled()
    result = measure_variance(model, images, LABELS, rotations(2, degrees=360))
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert [name for name in result.layer_names if name.startswith("encoder.layers.1.")] == [
        f"encoder.layers.1.{part}" for part in ("self_attn[0]", "norm1", "linear1", "linear2", "norm2")
    ]
    assert_agrees(result, st_matrices(model, images, rotations(2, degrees=360)), LABELS, EXACT, ulps=16)


def test_tokens_are_aggregated_over_their_positions(images, labels):
    model = nn.Sequential(nn.Flatten(2), nn.LayerNorm(81)).double()  # (B, 2, 81): two tokens of 81 values
    for aggregation, shape in (("mean", (81,)), ("none", (2, 81))):
        result = measure_variance(model, images, labels, rotations(3), aggregation=aggregation, batch_size=7)
        assert result.normalized_variance()["1"].shape == shape
        assert_agrees(result, st_matrices(model, images, rotations(3), aggregation=aggregation), labels, EXACT)


@pytest.mark.parametrize("aggregations", ["mean,max", ["none", "sum", "mean"]])
def test_several_aggregations_in_one_pass(reusing_model, images, labels, aggregations, device):
    passes = []
    handle = reusing_model.conv1.register_forward_hook(lambda *_: passes.append(1))
    options = {"batch_size": 9, "device": device, "replay": False}
    found = measure_variance(reusing_model, images, labels, rotations(4), aggregation=aggregations, **options)
    handle.remove()
    assert len(passes) == 4 * 3 + 2  # those of a few images, to find the layers and to check them
    assert list(found) == (aggregations.split(",") if isinstance(aggregations, str) else aggregations)
    for aggregation, result in found.items():
        layers = st_matrices(reusing_model, images, rotations(4), aggregation=aggregation)
        assert_agrees(result, layers, labels, EXACT)
        alone = measure_variance(reusing_model, images, labels, rotations(4), aggregation=aggregation, **options)
        for name in ("all", "classes", "stratified", "bias_all", "bias_stratified"):
            # Parts of the influences are float32.
            np.testing.assert_allclose(getattr(result.errors, name), getattr(alone.errors, name), rtol=1e-4, atol=1e-9)


class Residual(nn.Module):
    """A functional residual, in place, and an activation and a pooling by functions."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, inputs):
        first = F.relu(self.conv1(inputs), inplace=True)
        second = self.conv2(first)
        second += first
        pooled = F.adaptive_avg_pool2d(torch.relu(second), 2)
        return pooled.flatten(1) * 2


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.linear = Residual(), nn.Linear(16, 3)

    def forward(self, inputs):
        return F.log_softmax(self.linear(F.dropout(self.block(inputs), training=self.training)), dim=1)


@pytest.fixture
def outer():
    torch.manual_seed(1)
    return Outer().double()


def by_hand(model, inputs):
    """Every step of ``Outer``, by name."""
    block = model.block
    conv1 = F.conv2d(inputs, block.conv1.weight, block.conv1.bias, padding=1)
    relu = conv1.clamp(min=0)
    conv2 = F.conv2d(relu, block.conv2.weight, block.conv2.bias, padding=1)
    add = conv2 + relu
    again = add.clamp(min=0)
    pooled = F.adaptive_avg_pool2d(again, 2)
    flat = pooled.reshape(len(inputs), -1) * 2
    linear = flat @ model.linear.weight.T + model.linear.bias
    return {
        "block.conv1": conv1, "block.relu": relu, "block.conv2": conv2, "block.add": add, "block.relu#2": again,
        "block.adaptive_avg_pool2d": pooled, "block.mul": flat, "linear": linear,
        "log_softmax": linear - linear.logsumexp(dim=1, keepdim=True),
    }  # fmt: skip


def test_functional_operations(outer, images, labels):
    result = measure_variance(outer, images, labels, rotations(3), layers="operations", batch_size=10)
    with torch.no_grad():
        steps = [by_hand(outer, transformation(images)) for transformation in rotations(3)]
    assert result.layer_names == list(steps[0])
    for name in steps[0]:
        table = torch.stack([step[name].mean(dim=(2, 3)) if step[name].ndim == 4 else step[name] for step in steps], 1)
        for found, expected in zip(
            (result.transformation_variance(), result.sample_variance()), variances(table.numpy())[:2], strict=True
        ):
            np.testing.assert_allclose(found[name], expected, rtol=EXACT, err_msg=name)


class Namesakes(nn.Module):
    """Functions called like the modules beside them."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 4, 3), nn.ReLU()

    def forward(self, inputs):
        first = self.relu(self.conv(inputs))
        second = F.relu(first - 0.1)
        return F.relu(self.relu(second - 0.1) - 0.1)


def test_functions_and_modules_of_one_name_are_told_apart(images, labels):
    """Each goes by the same name, and is the same, however it was chosen."""
    torch.manual_seed(0)
    network = Namesakes().double()

    def measured(layers):
        return measure_variance(network, images, labels, rotations(3), layers=layers).transformation_variance()

    whole = measured("operations")
    assert list(whole) == ["conv", "relu", "sub", "relu()", "sub#2", "relu#2", "sub#3", "relu()#2"]
    assert list(measured(lambda name, module: module is None)) == ["sub", "relu()", "sub#2", "sub#3", "relu()#2"]
    assert list(measured(None)) == ["conv", "relu", "relu#2", "Namesakes"]
    assert list(measured(["relu()"])) == ["relu()", "relu()#2"]
    for names in (None, *([name] for name in whole), lambda name, module: module is None):
        for name, found in measured(names).items():
            name = "relu()#2" if name == "Namesakes" else name  # the last operation is its output
            np.testing.assert_allclose(found, whole[name], rtol=EXACT, err_msg=name)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (["linear"], ["linear"]),
        ("block", ["block"]),
        (["block", "block.add", "block.relu#2"], ["block.add", "block.relu#2", "block"]),
        (["block.relu"], ["block.relu", "block.relu#2"]),
        (lambda name, module: isinstance(module, nn.Conv2d), ["block.conv1", "block.conv2"]),
        (lambda name, module: module is None and "relu" in name, ["block.relu", "block.relu#2"]),
        (lambda name, module: isinstance(module, Residual), ["block"]),
    ],
)
def test_a_choice_of_layers(outer, images, labels, layers, names):
    result = measure_variance(outer, images, labels, rotations(3), layers=layers)
    assert result.layer_names == names
    if "block" in names:
        with torch.no_grad():
            table = torch.stack([outer.eval().block(turn(images)) for turn in rotations(3)], dim=1).numpy()
        np.testing.assert_allclose(result.transformation_variance()["block"], variances(table)[0], rtol=EXACT)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["liner"], "no layer 'liner' was computed: did you mean 'linear'"),
        (["block.ad"], "did you mean 'block.add'"),
        ([], "at least one"),
        ([3], "must be names"),
        (lambda name, module: False, "no layer was recorded"),
    ],
)
def test_a_choice_that_cannot_be_met(outer, images, layers, message):
    with pytest.raises(InputError, match=message):
        measure_variance(outer, images, None, rotations(2), layers=layers)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in outer.modules())


def test_modules_that_are_never_called_are_named(images):
    model = nn.Sequential(nn.Conv2d(2, 3, 3)).double()
    model[0].register_module("spare", None)
    outer = nn.Module()
    outer.used, outer.spare = model, nn.Linear(2, 2)
    outer.shortcut, outer.unused = nn.Sequential(), nn.ModuleDict()  # these compute nothing, called or not
    outer.scales = nn.ParameterList([nn.Parameter(torch.ones(1))])
    outer.forward = lambda inputs: outer.shortcut(outer.used(inputs))
    found = measure_variance(outer, images, None, rotations(2))
    assert (found.layer_names, found.never_called) == (["used.0"], ["spare"])
