"""The architectures are the published ones, and each step of them is measured once."""

import pytest
import torch
from torch import nn

from pytorch.errors import InputError
from pytorch.models import MODELS, build_model
from pytorch.torchvision_import import import_torchvision
from pytorch.variance.recording.recorder import ActivationRecorder


def recorded(model, images, aggregation="mean"):
    """Layers and activations of a model in evaluation mode."""
    with ActivationRecorder(model.eval(), aggregation) as recorder, torch.inference_mode():
        rows = recorder(images)
    return recorder.layers, rows


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_log_probabilities_for_every_input(name, channels):
    torch.manual_seed(0)
    model = build_model(name, channels, classes=7).eval()
    output = model(torch.rand(2, channels, 32, 32))
    assert output.shape == (2, 7)
    torch.testing.assert_close(output.exp().sum(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("simple_conv", {nn.Conv2d: 5, nn.MaxPool2d: 2, nn.Linear: 2, nn.ReLU: 6}),
        ("all_convolutional", {nn.Conv2d: 9, nn.ReLU: 8, nn.MaxPool2d: 0, nn.Linear: 0, nn.BatchNorm2d: 0}),
        ("vgg16", {nn.Conv2d: 13, nn.BatchNorm2d: 13, nn.MaxPool2d: 5, nn.Linear: 3, nn.ReLU: 15}),
        ("resnet", {nn.Conv2d: 20, nn.BatchNorm2d: 20, nn.ReLU: 17, nn.Linear: 1}),
        ("resnet34", {nn.Conv2d: 36, nn.BatchNorm2d: 36, nn.ReLU: 33, nn.Linear: 1}),
        ("resnet50", {nn.Conv2d: 53, nn.BatchNorm2d: 53, nn.ReLU: 49, nn.Linear: 1}),
    ],
)
def test_the_published_number_of_each_layer(name, kinds):
    modules = list(build_model(name, 3, 10).modules())
    assert {kind: sum(isinstance(module, kind) for module in modules) for kind in kinds} == kinds


def test_the_spatial_sizes_of_all_convolutional():
    """As in the paper: 32, 16, 8, 6; the 1 × 1 convolutions are not padded and keep 6 × 6."""
    layers, _ = recorded(build_model("all_convolutional", 3, 10), torch.rand(2, 3, 32, 32), "none")
    sizes = {layer.name: layer.shape for layer in layers if layer.name.startswith("conv")}
    assert sizes == {
        "conv1": (96, 32, 32), "conv2": (96, 32, 32), "conv3": (96, 16, 16),
        "conv4": (192, 16, 16), "conv5": (192, 16, 16), "conv6": (192, 8, 8),
        "conv7": (192, 6, 6), "conv8": (192, 6, 6), "conv9": (10, 6, 6),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "stem"), [("resnet", "resnet18"), ("resnet34", "resnet34"), ("resnet50", "resnet50")])
def test_resnet_computes_what_torchvision_computes(name, stem):
    """The same weights in torchvision's network, given the CIFAR stem, give the same output."""
    torch.manual_seed(0)
    ours = build_model(name, 3, 10).eval()
    theirs = getattr(import_torchvision().models, stem)(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    # Both register the modules of a block in the order conv, norm, conv, norm, ..., shortcut.
    weights = zip(theirs.state_dict(), ours.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(weights))
    images = torch.rand(2, 3, 32, 32)
    expected = torch.log_softmax(theirs.eval()(images), dim=1)
    torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-5)


def test_vgg16_has_torchvisions_features():
    torch.manual_seed(0)
    ours = build_model("vgg16", 3, 10).eval()
    theirs = import_torchvision().models.vgg16_bn(num_classes=10, init_weights=False).features.eval()
    states = (module.state_dict() for module in ours if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)))
    for module in theirs:
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            module.load_state_dict({"bias": torch.zeros_like(module.weight[:, 0, 0, 0]), **next(states)}
                                   if isinstance(module, nn.Conv2d) else next(states))  # fmt: skip
    images = torch.rand(2, 3, 32, 32)
    features = nn.Sequential(*list(ours)[: list(dict(ours.named_children())).index("flatten")])
    torch.testing.assert_close(features(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_the_layers_of_a_residual_block():
    layers, _ = recorded(build_model("resnet", 3, 10), torch.rand(2, 3, 32, 32))
    names = [layer.name for layer in layers]
    assert names[:3] == ["conv", "norm", "relu"]
    assert [name for name in names if name.startswith("block1_1.")] == [
        f"block1_1.{step}" for step in ("conv1", "norm1", "relu1", "conv2", "norm2", "sum", "relu2")
    ]
    assert [name for name in names if name.startswith("block2_1.")] == [
        f"block2_1.{step}"
        for step in ("conv1", "norm1", "relu1", "conv2", "norm2", "shortcut.conv", "shortcut.norm", "sum", "relu2")
    ]
    assert names[-3:] == ["pool", "linear", "log_softmax"]


@pytest.mark.parametrize("name", MODELS)
def test_each_step_is_computed_and_recorded_once(name):
    """No module is called twice, and no layer is a copy of another."""
    torch.manual_seed(0)
    layers, rows = recorded(build_model(name, 3, 10), torch.rand(2, 3, 32, 32), "none")
    assert not [layer.name for layer in layers if "#" in layer.name]
    activations = [part.numpy().tobytes() for part in rows.split([layer.units for layer in layers], dim=1)]
    assert len(set(activations)) == len(activations)


def test_names_are_forgiving_and_errors_helpful():
    assert isinstance(build_model("AllConvolutional", 1, 2), nn.Sequential)
    with pytest.raises(InputError, match="unknown model 'vgg61': did you mean vgg16"):
        build_model("vgg61", 1, 2)
