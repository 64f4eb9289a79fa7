"""Networks of torchvision, timm, transformers or a user's file, from the command line to figures."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from commands import assert_one_line, run
from PIL import Image
from torch import nn

import experiment_variance
import plot_variances_models
from pytorch.datasets import load_dataset
from pytorch.datasets.network_input import NetworkInput
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.experiments.storage import load_values
from pytorch.experiments.trained_model import weights_digest
from pytorch.models.libraries import build_network, file_name
from pytorch.models.weights_file import load_weights
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.variance import measure_variance

FILE = """
from torch import nn

def lazy():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))

def build():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    network.image_size, network.mean, network.std = 24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    return network

def grey():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

def loaded():
    network = build()
    for values in network.parameters():
        nn.init.constant_(values, 0.1)
    return network

def head():
    network = build()
    nn.init.constant_(network[0].weight, 0.1)
    network[0].weight.data[0] = 0.2
    return network

class Strict(nn.Module):
    image_size = 24

    def forward(self, images):
        assert images.shape[2] == 24, f"images are {images.shape[2]} pixels high"
        return images + 1

def no_network():
    return 3

def broken():
    raise ValueError("no such luck")
"""


@pytest.fixture
def nets(tmp_path):
    """A file of networks."""
    path = tmp_path / "nets.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def photographs(tmp_path):
    """A folder of 12 noisy pictures, 40 × 30, in two classes."""
    chance = np.random.default_rng(0)
    for index in range(12):
        place = tmp_path / "photographs" / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(place / f"{index}.png")
    return tmp_path / "photographs"


def measured(results, name):
    return load_values(results / "values" / f"{name}_rotation_mean.pickle")


def measure(tmp_path, *arguments):
    experiment_variance.main([*map(str, arguments), "--results-dir", str(tmp_path / "results"), "--steps", "4"])


def test_a_file_and_its_weights_give_what_the_python_interface_gives(tmp_path, nets, capsys):
    trained, _ = build_network(f"{nets}:build", seed=7)
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    measure(tmp_path, f"{nets}:build", "digits", "--weights", tmp_path / "weights.pt", "--samples", "30")
    pair = measured(tmp_path / "results", "nets-build_digits")
    assert list(pair.results) == ["untrained", "trained"]
    digits = load_dataset("digits", None, samples=30).test

    def preprocess(turned):
        grey = nn.functional.interpolate(turned, (24, 24), mode="bilinear", antialias=True) / 255
        constants = torch.tensor([(0.5, 0.4, 0.3), (0.2, 0.3, 0.4)]).reshape(2, 3, 1, 1)
        return (grey.expand(-1, 3, -1, -1) - constants[0]) / constants[1]

    for state, seed in (("untrained", 0), ("trained", 7)):
        network, _ = build_network(f"{nets}:build", seed)
        alone = measure_variance(network, digits.images, digits.labels, rotations(4), preprocess)
        for layer, values in alone.normalized_variance("all").items():
            np.testing.assert_allclose(
                pair.results[state].normalized_variance("all")[layer], values, rtol=1e-4, atol=1e-5
            )
    assert pair.training["trained"]["weights"] == "file weights.pt"
    assert "trained model" in capsys.readouterr().out


def test_a_library_and_a_folder_at_a_size_of_ones_own(tmp_path, photographs, capsys):
    measure(tmp_path, "torchvision:resnet18", photographs, "--image-size", "32", "--name", "mine")
    pair = measured(tmp_path / "results", "mine_folder-photographs")
    models = import_torchvision().models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.resnet18(weights=None).eval()
    files = sorted(photographs.rglob("*.png"))
    crops = [Image.open(file).resize((42, 32), Image.Resampling.BILINEAR).crop((5, 0, 37, 32)) for file in files]
    images = torch.stack([torch.from_numpy(np.array(crop)).permute(2, 0, 1) for crop in crops])
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    alone = measure_variance(network, images, None, rotations(4), lambda batch: (batch / 255 - mean) / std)
    found = pair.results["untrained"]
    assert found.samples == 12
    assert found.classes == ["a", "b"]
    for layer, values in alone.layer_means("all").items():
        assert found.layer_means("all")[layer] == pytest.approx(values, rel=1e-3)
    assert "random weights alone" in capsys.readouterr().err


def test_the_same_command_again_measures_nothing_and_other_weights_are_not_lost(tmp_path, nets, capsys):
    for seed in (1, 2):
        torch.save(build_network(f"{nets}:build", seed)[0].state_dict(), tmp_path / f"{seed}.pt")
    command = [f"{nets}:build", "digits", "--samples", "20", "--weights"]
    measure(tmp_path, *command, tmp_path / "1.pt")
    capsys.readouterr()
    measure(tmp_path, *command, tmp_path / "1.pt")
    assert "already measured" in capsys.readouterr().out
    for changed, told in (
        ([*command, tmp_path / "2.pt"], "weights file 1.pt, not file 2.pt"),
        ([*command, tmp_path / "1.pt", "--image-size", "28"], "image size 24, not 28"),
        ([*command, tmp_path / "1.pt", "--seed", "5", "--samples", "355"], "samples 20, not 352"),
        (command[:-1], "the states untrained and trained, not untrained"),
    ):
        with pytest.raises(InputError, match=told):
            measure(tmp_path, *changed)
    measure(tmp_path, *command, tmp_path / "2.pt", "--name", "second")
    assert len(list((tmp_path / "results/values").glob("*.pickle"))) == 2


@pytest.mark.parametrize("function", ["loaded", "head"])
def test_a_function_that_loads_weights_is_measured_as_it_is(tmp_path, nets, capsys, function):
    measure(tmp_path, f"{nets}:{function}", "digits", "--samples", "20")
    assert list(measured(tmp_path / "results", f"nets-{function}_digits").results) == ["trained"]
    assert "there is no control: it is measured as it is" in capsys.readouterr().err


def test_weights_replace_those_that_a_function_loads(tmp_path, nets, capsys):
    given, _ = build_network(f"{nets}:build", 3)
    torch.save(given.state_dict(), tmp_path / "weights.pt")
    measure(tmp_path, f"{nets}:loaded", "digits", "--samples", "20", "--weights", tmp_path / "weights.pt")
    pair = measured(tmp_path / "results", "nets-loaded_digits")
    assert list(pair.results) == ["trained"]
    assert pair.weights == {"trained": weights_digest(given.state_dict())}
    assert pair.training["trained"]["weights"] == "file weights.pt"
    assert "there is no control: --weights replaces them" in capsys.readouterr().err


def test_everything_is_drawn_without_a_trained_pair(tmp_path, nets, photographs):
    torch.save(build_network(f"{nets}:build", 1)[0].state_dict(), tmp_path / "weights.pt")
    for data in ("digits", photographs):
        measure(tmp_path, f"{nets}:build", data, "--weights", tmp_path / "weights.pt", "--samples", "20")
    measure(tmp_path, f"{nets}:build", "digits", "--name", "fresh", "--samples", "20")
    measure(tmp_path, f"{nets}:build", "digits", "--weights", tmp_path / "weights.pt", "--samples", "20",
            "--control", "shuffled")  # fmt: skip
    plots = tmp_path / "plots"
    folders = ["--results-dir", str(tmp_path / "results"), "--plots-dir", str(plots)]
    assert plot_variances_models.main(folders) == 0
    names = {str(path.relative_to(plots)) for path in plots.rglob("*.png")}
    assert {
        "nets-build_digits/rotation_mean_heatmap_stratified.png",
        "nets-build_folder-photographs/rotation_mean_layers.png",
        "fresh_digits/rotation_mean_heatmap_all.png",
        "digits_rotation_mean_untrained-trained_depth.png",
        "digits_rotation_mean_untrained_depth.png",
    } <= names
    tables = (plots / "results.md").read_text()
    table = tables[tables.index("## Other networks") :]
    row = next(
        line for line in table.splitlines() if line.startswith("| nets-build | digits") and "all samples" in line
    )
    untrained, trained, difference = (
        float(re.match(r"[−-]?[\d.]+", cell.strip()).group().replace("−", "-")) for cell in row.split("|")[7:10]
    )
    pair = measured(tmp_path / "results", "nets-build_digits")
    assert untrained == pytest.approx(pair.results["untrained"].global_mean("all"), rel=1e-2)
    assert difference == pytest.approx(trained - untrained, abs=2e-3)
    assert "Claims of the paper" not in tables
    assert "nets-build" in (plots / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["torchvision:resnet5", "digits"], 1, ["no network 'resnet5'", "did you mean resnet50"]),
        (["resnet9", "digits"], 2, ["unknown model 'resnet9'", "torchvision:resnet50"]),
        (["foo:bar", "digits"], 2, ["unknown network 'foo:bar'", "path/to/file.py:function"]),
        (["missing.py:build", "digits"], 1, ["missing.py is not a file"]),
        (["nets.py:nothing", "digits"], 1, ["no function 'nothing'"]),
        (["nets.py:no_network", "digits"], 1, ["int", "torch.nn.Module"]),
        (["nets.py:broken", "digits"], 1, ["cannot be built", "no such luck"]),
        (["nets.py:grey", "photographs"], 1, ["--image-size"]),
        (["nets.py:lazy", "digits"], 1, ["lazy modules", "one batch"]),
        (["nets.py:build", "digits", "--weights", "none.pt"], 1, ["no file of weights at none.pt"]),
        (["nets.py:build", "digits", "--weights", "nets.py"], 1,
         ["nets.py cannot be read as weights (torch.save did not write it)"]),
        (["nets.py:build", "digits", "--pretrained"], 2, ["--pretrained is for libraries"]),
        (["nets.py:build", "digits", "--seeds", "2"], 2, ["--name each time"]),
        (["nets.py:build", "digits", "--control", "random-weights"], 2, ["measured along"]),
        (["nets.py:build", "digits", "--mean", "0.5"], 2, ["--mean and --std go together"]),
        (["nets.py:build", "digits", "--mean", "0.5", "--std", "0"], 2, ["--std must be above 0"]),
        (["nets.py:build", "digits", "--name", "../x"], 2, ["--name", "letters"]),
        (["simple_conv", "digits", "--image-size", "64"], 2, ["--image-size is for networks from elsewhere"]),
        (["nets.py:build", "nowhere"], 2, ["unknown data set (and no folder)"]),
    ],
)  # fmt: skip
def test_mistakes_get_one_line(tmp_path, nets, photographs, arguments, code, parts, capsys):
    assert_one_line(run(tmp_path, "experiment_variance.py", *arguments, "--samples", "20"), code, *parts)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nets.py:Strict", "digits", "--image-size", "28"], "AssertionError: images are 28 pixels high"),
        (["nets.py:build", "photographs", "--mean", "0.5,0.5", "--std", "1,1"],
         "images have 3 channels, and the normalisation has 2"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_get_one_line_after_the_notes(tmp_path, nets, photographs, arguments, reason):
    process = run(tmp_path, "experiment_variance.py", *arguments, "--samples", "20", "--steps", "2")
    assert process.returncode == 1
    assert reason in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(("library", "package"), [("timm:convnext_tiny", "timm"), ("hf:vit", "transformers")])
def test_a_library_that_is_not_installed_is_named(library, package):
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(InputError, match=f"pip install {package}"):
        build_network(library, 0)


def test_names_of_files():
    assert file_name("torchvision:resnet50") == "torchvision-resnet50"
    assert file_name("hf:../models/my vit") == "hf-..-models-my-vit"
    assert file_name("some/nets.py:build") == "nets-build"
    with pytest.raises(InputError, match="--name"):
        file_name("hf:" + "long" * 20)


class TestWeights:
    """Files of weights, as training programs write them."""

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: state,
            lambda state: {"state_dict": state, "epoch": 3},
            lambda state: {"model": {f"module.{name}": values for name, values in state.items()}},
            lambda state: {f"_orig_mod.{name}": values for name, values in state.items()},
        ],
    )
    def test_load(self, tmp_path, wrap):
        one, two = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for _ in range(2))
        torch.save(wrap(one.state_dict()), tmp_path / "weights.pt")
        load_weights(two, tmp_path / "weights.pt")
        assert all(torch.equal(values, two.state_dict()[name]) for name, values in one.state_dict().items())

    def test_safetensors(self, tmp_path):
        safetensors = pytest.importorskip("safetensors.torch")
        one, two = nn.Linear(2, 3), nn.Linear(2, 3)
        safetensors.save_file(one.state_dict(), tmp_path / "weights.safetensors")
        load_weights(two, tmp_path / "weights.safetensors")
        assert torch.equal(one.weight, two.weight)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ({"weight": torch.zeros(3, 2)}, r"1 are missing \(bias\)"),
            ({"weight": torch.zeros(3, 2), "bias": torch.zeros(4)}, r"1 have another shape \(bias\)"),
            ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "x": torch.zeros(1)}, "1 are not in the network"),
            ({"epoch": 3}, "holds no state dict"),
            ([1, 2], "holds no state dict"),
            (nn.Linear(2, 3), "could execute code"),
        ],
    )
    def test_refuse(self, tmp_path, content, told):
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(InputError, match=told):
            load_weights(nn.Linear(2, 3), tmp_path / "weights.pt")

    def test_the_count_of_batches_may_be_missing(self, tmp_path):
        network = nn.BatchNorm2d(2)
        torch.save({k: v for k, v in network.state_dict().items() if "num" not in k}, tmp_path / "weights.pt")
        load_weights(network, tmp_path / "weights.pt")


def test_the_input_of_a_network():
    prepare = NetworkInput(2, Normalization((0.5, 0.0, 1.0), (0.5, 1.0, 2.0)))
    grey = torch.tensor([[[[0, 255, 0, 255]] * 4]], dtype=torch.uint8)
    assert prepare(grey).shape == (1, 3, 2, 2)
    same = NetworkInput(4, Normalization((0.5,), (0.5,)))(grey)
    assert same.tolist() == [[[[-1.0, 1.0, -1.0, 1.0]] * 4]]
