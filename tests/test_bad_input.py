"""Bad input of every kind gets one clear line and an exit code, whichever script meets it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import result
from PIL import Image, ImageFile, WebPImagePlugin
from torch import nn

import experiment_rotation
from pytorch.datasets import load_dataset
from pytorch.errors import InputError
from pytorch.experiments.storage import load_model, load_values, model_file, save_model
from pytorch.experiments.vocabulary import PAIR
from pytorch.models import build_model
from pytorch.transformations import brightness, rotations, scalings, translations
from pytorch.variance import measure_variance

ONE_EPOCH = ("--epochs", "1", "--rotated-epochs", "1", "--batch-size", "8")


def errors(text):
    """The lines of an error stream but for notes on what was resized or left out."""
    return [line for line in text.splitlines() if "error: " in line]


@pytest.mark.parametrize("name", ["train", "measure"])
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("reznet", "digits"), 2, "unknown model 'reznet': did you mean resnet"),
        (("resnet", "digit"), 2, "'digit': did you mean digits"),
        (("resnet", ""), 2, "unknown data set (and no folder) ''"),
        (("resnet", "digits", "--batch-size", "9" * 20), 2, "must be in 1 to 2147483647"),
        (("resnet", "no/such/folder"), 2, "unknown data set (and no folder) 'no/such/folder'"),
        (("resnet", "digits", "--batch-size", "0"), 2, "--batch-size: 0 must be at least 1"),
        (("resnet", "digits", "--batch-size", "-8"), 2, "--batch-size: -8 must be at least 1"),
        (("resnet", "digits", "--samples", "-1"), 2, "--samples: -1 must be at least 1"),
        (("resnet", "digits", "--seed", "-1"), 2, "--seed: -1 must be in 0 to"),
        (("resnet", "digits", "--device", "cuda:7"), 2, "CUDA devices"),
        (("resnet", "digits", "--device", "tpu"), 2, "'tpu' is not a device"),
        (("resnet", "digits", "--device", "mps"), 2, "only cpu and cuda have the float64"),
        (("resnet", "digits", "--results-dir", ""), 2, "--results-dir: the folder's name is empty"),
        (("resnet", "digits", "--results-dir", "/proc/results"), 1, "cannot be written to"),
        (("resnet", "digits", "--results-dir", "a_file/results"), 1, "a_file is not a folder"),
        (("resnet", "digits", "--results-dir", "long" * 100), 1, "File name too long"),
    ],
)
def test_options_that_both_experiments_share(script, tmp_path, name, options, code, message):
    (tmp_path / "a_file").touch()
    found, told, _ = script(name, *options)
    assert (found, len(told.splitlines())) == (code, 1)
    assert message in told
    assert os.listdir(tmp_path) == ["a_file"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("train", ("--epochs", "-1"), "--epochs: -1 must be at least 1"),
        ("train", ("--rotated-epochs", "0"), "--rotated-epochs: 0 must be at least 1"),
        ("train", ("--seeds", "0"), "--seeds: 0 must be in 1 to 1000"),
        ("measure", ("--steps", "1"), "--steps: 1 must be at least 2"),
        ("measure", ("--steps", "-16"), "--steps: -16 must be at least 2"),
        ("measure", ("--tolerance", "nan"), "--tolerance: nan must be above 0"),
        ("measure", ("--aggregation", "men"), "unknown aggregation 'men'"),
        ("measure", ("--transformation", "rotations"), "invalid choice: 'rotations'"),
        ("measure", ("--measure", "variance"), "invalid choice: 'variance'"),
        ("measure", ("--measure", "both", "--positions", "0"), "--positions: 0 must be at least 1"),
        ("measure", ("--measure", "both", "--positions", "every"), "--positions: 'every' is not a whole number"),
        ("measure", ("--positions", "9"), "--positions is for the equivariance: add --measure both"),
        ("measure", ("--measure", "equivariance", "--aggregation", "max"), "--aggregation is for the invariance: use"),
        ("measure", ("--measure", "equivariance", "--classes"), "--classes is for the invariance: use --measure both"),
        ("measure", ("--measure", "both", "--while-training"), "--while-training measures the invariance alone: run"),
    ],
)
def test_options_of_one_experiment(script, name, options, message):
    code, told, _ = script(name, "resnet", "digits", *options)
    assert (code, len(told.splitlines())) == (2, 1)
    assert message in told


@pytest.mark.parametrize(
    ("name", "arguments", "code", "parts"),
    [
        ("train", "resnet cifar10", 1, ["cifar10 is not in", "could not be downloaded"]),
        (
            "measure",
            "resnet cifar10",
            1,
            ["there is no unrotated model", "first run python experiment_rotation.py resnet cifar10\n"],
        ),
        (
            "measure",
            "vgg16 digits --results-dir 'my results'",
            1,
            ["first run python experiment_rotation.py vgg16 digits --results-dir 'my results'\n"],
        ),
        (
            "measure",
            "vgg16 digits --plots-dir mine --data-dir data --device cpu:0",
            1,
            ["first run python experiment_rotation.py vgg16 digits --plots-dir mine --data-dir data --device cpu:0\n"],
        ),
        ("train", "resnet cifar", 2, ["'cifar': did you mean cifar10", "fashion_mnist"]),
        ("train", "resnet", 2, ["dataset"]),
        ("train", "resnet digits --epochs many", 2, ["--epochs", "'many' is not a whole number"]),
        ("train", f"resnet digits --seed {'9' * 20}", 2, ["must be in 0 to 4294967295"]),
        ("train", "resnet digits --results-dir ~no-such-user/x", 2, ["cannot expand ~"]),
        ("train", "simple_conv digits --samples 3", 1, ["3 samples for 10 classes"]),
        ("measure", "resnet digits --tolerance 0", 2, ["0 must be above 0"]),
        ("measure", "resnet digits --precision fp8", 2, ["invalid choice: 'fp8'"]),
        ("measure", "resnet digits --aggregation max,max", 2, ["name each aggregation once"]),
        ("measure", "resnet digits --control luck", 2, ["invalid choice: 'luck'"]),
        (
            "measure",
            "resnet digits --control random-weights --control shuffled",
            2,
            ["argument --control: takes one value"],
        ),
        ("measure", "resnet luck --control shuffled --control shuffled", 2, ["'luck'"]),
        ("draw", "", 1, ["no measurement in", "experiment_variance.py"]),
        ("draw", "--results-dir /dev/null", 1, ["/dev/null/values cannot be read: Not a dir"]),
        (
            "train",
            "simple_conv digits --results-dir /dev/null/results",
            1,
            ["the folder /dev/null/results/models/simple_conv_digits cannot be made"],
        ),
    ],
)
def test_bad_input_gets_one_line(script, tmp_path, name, arguments, code, parts):
    found, told, _ = script(name, *shlex.split(arguments))
    assert (found, len(told.splitlines())) == (code, 1), told
    for part in parts:
        assert part in told
    assert {path.name for path in tmp_path.rglob("*")} <= {"variance_results", "data", "cifar-10-batches-py"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(script, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    code, told, _ = script("train", "resnet", "digits", "--results-dir", "closed/results")
    assert (code, errors(told)) == (1, [told.strip()])
    assert "cannot be written to: Permission denied" in told


def test_a_folder_of_measurements_that_cannot_be_read(script, tmp_path):
    (tmp_path / "variance_results").mkdir()
    (tmp_path / "variance_results" / "values").touch()
    code, told, _ = script("draw")
    assert (code, errors(told)) == (1, [told.strip()])
    assert "variance_results/values cannot be read: Not a directory" in told


def test_a_folder_of_models_that_cannot_be_read_stops_no_drawing(script, image_folder, tmp_path):
    script("train", "simple_conv", image_folder, *ONE_EPOCH)
    script("measure", "simple_conv", image_folder, "--steps", 2)
    (tmp_path / "variance_results" / "models").rename(tmp_path / "moved")
    (tmp_path / "variance_results" / "models").touch()
    code, told, out = script("draw", "--only", "layers")
    assert (code, len(errors(told))) == (1, 1)
    assert "variance_results/models cannot be read: Not a directory" in told
    assert "1 figure, 1 of them new" in out


def frames(path):
    images = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (10, 200, 90)]
    images[0].save(path, save_all=True, append_images=images[1:])


def bomb(path, side=100_000):
    """Some hundred bytes that claim so many pixels a side, 10 gigapixels if not told."""
    Image.new("1", (32, 32)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def webp_bomb(path, side):
    Image.new("RGB", (32, 32)).save(path, format="WEBP", lossless=True)
    content = bytearray(path.read_bytes())
    content[21:25] = ((side - 1) | (side - 1) << 14).to_bytes(4, "little")
    path.write_bytes(content)


UNUSABLE = {
    "no image": (lambda path: path.write_text("no image"), "1.png cannot be read as an image"),
    "empty": (lambda path: path.write_bytes(b""), "1.png cannot be read as an image"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:60]), "1.png cannot be read as an image"),
    "16 bits": (lambda path: Image.new("I;16", (32, 32)).save(path), "1.png: images of mode I;16 are not supported"),
    "floating": (lambda path: Image.new("F", (32, 32)).save(path, format="TIFF"), "1.png: images of mode F"),
    "animated": (frames, "1.png has 3 frames, but a sample is one image: keep one frame, or remove the file"),
    "bomb": (bomb, "1.png claims more than 90000000 pixels; shrink it, or remove it"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "1.png is not a file"),
    "a program": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0"), "1.png cannot be read as an image"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "no images in the classes ['cat']"),
    "a class in test alone": (lambda path: (path.parents[1] / "newt").mkdir(), "no images in the classes ['newt']"),
    "a class with images in test alone": (
        lambda path: path.parent.rename(path.parents[1] / "newt"), "only in one of them: ['cat', 'newt']",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_folders_with_images_that_cannot_be_used(script, image_folder, spoil, message):
    for path in (image_folder / "test" / "cat").glob("[!1].png"):
        path.unlink()
    spoil(image_folder / "test" / "cat" / "1.png")
    code, told, _ = script("train", "simple_conv", image_folder, *ONE_EPOCH)
    assert code == 1
    assert len(errors(told)) == 1
    assert message in told


@pytest.mark.parametrize("callers", [None, 1, 10**12])
@pytest.mark.parametrize(("make", "side"), [(bomb, 9_500), (bomb, 100_000), (webp_bomb, 9_500)])
def test_no_image_takes_the_memory_that_it_claims(image_folder, monkeypatch, callers, make, side):
    """Whatever PIL was told to let pass: it is refused before its pixels get any memory."""
    make(image_folder / "test" / "cat" / "0.png", side)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", callers)
    pets = load_dataset(str(image_folder), None)
    assert len(pets.train) == 12
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    monkeypatch.setattr(WebPImagePlugin._webp, "WebPAnimDecoder", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=r"0.png claims more than"):
            _ = pets.test
    assert callers == Image.MAX_IMAGE_PIXELS


USABLE = {
    "grey": ("L", 200, [200, 200, 200]),
    "with transparency": ("LA", (200, 0), [200, 200, 200]),
    "CMYK": ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
    "two colours": ("1", 1, [255, 255, 255]),
}


@pytest.mark.parametrize(("mode", "colour", "expected"), USABLE.values(), ids=USABLE.keys())
def test_images_of_other_modes(image_folder, mode, colour, expected):
    path = image_folder / "test" / "cat" / "0.tiff"
    (image_folder / "test" / "cat" / "0.png").unlink()
    Image.new(mode, (32, 32), colour).save(path)
    assert load_dataset(str(image_folder), None).test.images[0, :, 7, 9].tolist() == expected


def test_a_class_of_one_image_is_named_and_the_others_are_kept(script, image_folder, tmp_path):
    for path in (image_folder / "test" / "cat").glob("[!1].png"):
        path.unlink()
    assert script("train", "simple_conv", image_folder, *ONE_EPOCH)[0] == 0
    code, _, told = script("measure", "simple_conv", image_folder, "--steps", "4")
    assert code == 0
    assert "fewer than two samples, so no sample variance, and left out of stratified: cat" in told
    (values,) = (tmp_path / "variance_results" / "values").glob("*.pickle")
    result = load_values(values).results["rotated"]
    assert np.isnan(result.global_mean("cat"))
    assert result.global_mean("stratified") == result.global_mean("dog")


def small_file(folder, what, content):
    path = folder / "MNIST" / "raw" / f"{what}-ubyte"
    header = path.read_bytes()[: 4 + 4 * path.read_bytes()[3]]
    path.write_bytes(content(header, path.read_bytes()[len(header) :]))


DAMAGED = {
    "labels out of range": ("t10k-labels-idx1", lambda head, body: head + b"\xc8" * len(body), "labels from 200"),
    "a type that there is not": ("train-images-idx3", lambda head, body: b"\0\0\7\3" + head[4:] + body, "is damaged"),
    "smaller than it says": ("train-images-idx3", lambda head, body: head + body[:-9], "is damaged"),
    "fewer labels": (
        "t10k-labels-idx1", lambda head, body: head[:7] + bytes([head[7] - 1]) + body[:-1], "images and",
    ),
    "no labels": ("t10k-labels-idx1", lambda head, body: head[:4] + bytes(4), "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("what", "content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_archives_that_say_what_is_not_so(script, small_mnist, what, content, message):
    load_dataset("mnist", small_mnist)  # unpacks the archives
    small_file(small_mnist, what, content)
    code, told, _ = script("train", "simple_conv", "mnist", "--data-dir", small_mnist, *ONE_EPOCH)
    assert (code, len(errors(told))) == (1, 1)
    assert "mnist in" in told
    assert message in told


def test_weights_that_are_no_numbers(script, image_folder, tmp_path):
    assert script("train", "simple_conv", image_folder, *ONE_EPOCH)[0] == 0
    path = model_file(tmp_path / "variance_results", "simple_conv", "folder-pets", PAIR[1])
    trained = load_model(path)
    weights = {name: values.clone() for name, values in trained.weights.items()}
    weights["conv1.weight"][0, 0, 0] = torch.nan
    weights["conv2.bias"][3] = torch.inf
    save_model(path, replace(trained, weights=weights))
    code, told, _ = script("measure", "simple_conv", image_folder, "--steps", "4")
    assert (code, len(errors(told))) == (1, 1)
    assert "weights that are NaN or infinite: 3 in conv1.weight, 1 in conv2.bias" in told


@pytest.mark.parametrize("name", ["y" * 51, "back\\slash", "new\nline"])
def test_folders_that_no_file_can_be_named_after(script, image_folder, name):
    image_folder.rename(image_folder.parent / name)
    code, told, _ = script("train", "simple_conv", image_folder.parent / name)
    assert (code, len(told.splitlines())) == (2, 1)
    assert "results cannot be named after a folder" in told


def test_images_that_changed_under_their_names_are_other_data(script, image_folder):
    for path in image_folder.rglob("*.png"):  # whose size does not tell
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    assert script("train", "simple_conv", image_folder, *ONE_EPOCH)[0] == 0
    changed = image_folder / "train" / "cat" / "0.bmp"
    size = changed.stat().st_size
    Image.new("RGB", (32, 32), (9, 9, 9)).save(changed)
    assert changed.stat().st_size == size
    code, told, _ = script("train", "simple_conv", image_folder, *ONE_EPOCH)
    assert (code, len(errors(told))) == (1, 1)
    assert "was trained with fingerprint of the data " in told
    assert "trained on other data than folder-pets now contains" in script("measure", "simple_conv", image_folder)[1]


def test_a_model_in_the_place_of_the_other_is_not_taken_for_it(script, image_folder, tmp_path):
    command = "train", "simple_conv", image_folder, *ONE_EPOCH
    script(*command)
    place = tmp_path / "variance_results" / "models" / "simple_conv_folder-pets"
    shutil.copy(place / "unrotated.pt", place / "rotated.pt")
    code, told, _ = script(*command)
    assert (code, errors(told)) == (1, [told.splitlines()[-1]])
    assert "rotated.pt holds the unrotated model: it was moved there; --overwrite trains it again" in told
    assert script(*command, "--overwrite")[0] == 0
    assert load_model(place / "rotated.pt").trained_on == "rotated"


def test_what_is_not_named_as_an_image_is_counted(script, image_folder):
    (image_folder / "train" / "cat" / "notes.txt").touch()
    (image_folder / "test" / "loop").symlink_to(image_folder / "test" / "cat")
    (image_folder / "train" / "loop").symlink_to(image_folder / "train" / "cat")
    _, told, _ = script("train", "simple_conv", image_folder, *ONE_EPOCH)
    assert f"{image_folder / 'train'}: files skipped that are in no class or not named as images: 2" in told
    os.mkfifo(image_folder / "train" / "dog" / "pipe.png")
    code, told, _ = script("train", "simple_conv", image_folder, *ONE_EPOCH)
    assert (code, len(errors(told))) == (1, 1)
    assert "pipe.png is not a file" in told


def test_names_that_a_terminal_cannot_show_stop_nothing(tmp_path):
    """Nor does it that nobody listens."""
    script = Path(experiment_rotation.__file__)
    process = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True,
                             env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False)  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    assert "mean \\xb1 standard deviation" in " ".join(process.stdout.split())
    closed = subprocess.run(["sh", "-c", f"exec '{sys.executable}' '{script}' no_model digits >&-"], cwd=tmp_path,
                            capture_output=True, text=True, check=False)  # fmt: skip
    assert (closed.returncode, len(closed.stderr.splitlines())) == (2, 1)


def test_memory_that_runs_out_while_a_model_is_saved(script, image_folder, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 141047872 vs 141047764")

    monkeypatch.setattr(torch, "save", fail)
    code, told, _ = script("train", "simple_conv", image_folder, *ONE_EPOCH)
    assert (code, len(errors(told))) == (1, 1)
    assert "out of memory: " in told


def test_data_sets_that_are_downloaded_need_a_folder():
    with pytest.raises(InputError, match="mnist is downloaded: data_dir must be the folder to keep it in"):
        load_dataset("mnist", data_dir=None)


def small_model():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_images_of_odd_types(dtype):
    with pytest.raises(InputError, match=r"images are of type .*: uint8 or floating point is needed"):
        measure_variance(small_model(), torch.ones(4, 1, 8, 8).to(dtype), None, rotations(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_are_given_to_a_model_in_its_type(dtype):
    images, model = torch.rand(4, 1, 8, 8).to(dtype), small_model()
    found = measure_variance(model, images, None, rotations(2))
    expected = measure_variance(model, images.float(), None, rotations(2))
    np.testing.assert_allclose(found.tv_all, expected.tv_all, rtol=1e-2 if dtype == torch.float16 else 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batch: batch[1:], r"must return a batch of 4 samples, and returned a tensor of shape \(3, 1, 8, 8\)"),
        (lambda batch: None, "and returned NoneType"),
        (lambda batch: batch.sum(), r"and returned a tensor of shape \(\)"),
    ],
)
def test_transformations_that_make_no_batch(change, message):
    images = torch.rand(4, 1, 8, 8)
    with pytest.raises(InputError, match=f"transformation <function <lambda>> .*{message}"):
        measure_variance(small_model(), images, None, [change, change])
    with pytest.raises(InputError, match=r"preprocess <function <lambda>> must return a batch of 4 samples"):
        measure_variance(small_model(), images, None, rotations(2), preprocess=change)


def test_a_model_that_cannot_take_bytes_says_who_must_make_numbers_of_them():
    class Scaling(nn.Sequential):
        def forward(self, inputs):
            return super().forward(inputs / 255)

    images = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    turns = [torch.clone, torch.fliplr]
    with pytest.raises(InputError, match=r"cannot take images of type torch.uint8: a transformation or preprocess"):
        measure_variance(small_model(), images, None, turns)
    found = measure_variance(Scaling(*small_model()), images, None, turns, check=False)  # one channel: both the same
    assert found.transformations == [
        "<built-in method clone of type object>",
        "<built-in method fliplr of type object>",
    ]
    with pytest.raises(RuntimeError, match="no such thing"):
        measure_variance(small_model(), images / 255, None, turns, preprocess=lambda batch: no_such_thing())


def no_such_thing():
    raise RuntimeError("no such thing")


def test_a_network_with_two_inputs_is_refused_in_a_line():
    class TwoInputs(torch.nn.Module):
        def forward(self, first, second):
            return first + second

    with pytest.raises(InputError, match=r"the model cannot take a batch of shape \(4, 1, 8, 8\) \(.*second"):
        measure_variance(TwoInputs(), torch.rand(4, 1, 8, 8), None, rotations(2))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 8), r"transformation rotation by 0° cannot take a batch of shape \(3, 8, 8\)"),
        ((8,), r"images have shape \(8,\): \(N, C, H, W\) or \(N, ...\) is needed"),
        ((2, 1, 1, 8, 8), r"(transformation|the model).* cannot take .*shape \(2, 1, 1, 8, 8\)"),
    ],
)
def test_batches_of_an_iterable_that_are_no_images(shape, message):
    with pytest.raises(InputError, match=message):
        measure_variance(small_model(), [(torch.rand(shape), None)], None, rotations(2))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("images", 3, "images is 3: it must be a tensor"),
        ("labels", None, "classes names labels, but labels is None: give labels, or omit classes"),
        ("labels", rotations(2), "labels is a list of functions: pass None as labels"),
        ("transformations", [lambda: None] * 2, "is no function of a batch"),
        ("preprocess", lambda: None, "it must be a function of a batch, or None"),
        ("aggregation", None, "aggregation is None: choose from mean, max"),
        ("aggregation", 3, "aggregation is 3: choose from mean, max"),
        ("batch_size", "4", "batch_size is '4': it must be a whole number"),
        ("batch_size", 4.0, "batch_size is 4.0: it must be a whole number"),
        ("device", "gpu", "device is 'gpu': it must be as 'cpu', 'cuda' or 'cuda:1', or None"),
        ("device", 0.5, "device is 0.5: it must be as 'cpu'"),
        ("layers", lambda name: True, "it must be names of layers, or a function of a name and a module"),
        ("layers", 3, "layers is 3: it must be names of layers"),
        ("channel_axis", lambda name: 1, "or a function of a name and a module"),
        ("classes", [0, 1], "class 0 is not a string"),
        ("classes", 2, "classes is 2: it must be the names of the labels"),
        ("dispersion", [], "unknown dispersion []: choose one of std, variance"),
        ("tolerance", "1", "tolerance is '1': it must be a number above 0"),
        ("seed", None, "seed is None: it must be a whole number"),
        ("seed", 2**70, "it must fit in 64 bits"),
        ("reset", lambda batch: None, "it must be a function without arguments, or None"),
    ],
)
def test_arguments_of_wrong_types(argument, value, message):
    fine = {"images": torch.rand(4, 1, 8, 8), "labels": torch.tensor([0, 1, 0, 1]), "classes": ["no", "yes"]}
    fine["transformations"] = rotations(2)
    measure_variance(small_model(), **fine)
    with pytest.raises(InputError, match=re.escape(message)):
        measure_variance(small_model(), **{**fine, argument: value})


@pytest.mark.parametrize("steps", ["4", 2.5, None])
@pytest.mark.parametrize("make", [rotations, scalings, brightness, translations])
def test_steps_that_are_no_whole_number(make, steps):
    assert len(make(np.int64(4))) == 4
    with pytest.raises(InputError, match=f"^steps is {steps!r}: it must be a whole number$"):
        make(steps)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rotations(4, degrees="90"), "degrees is '90': it must be a number"),
        (lambda: rotations(4, degrees=np.inf), "degrees is inf: it must be a number"),
        (lambda: scalings(4, smallest="0.5"), "an end of the scalings is '0.5': it must be a number"),
        (lambda: brightness(4, brightest=None), "an end of the levels of brightness is None: it must be a number"),
        (lambda: translations(4, spacing=1.5), "spacing is 1.5: it must be a whole number"),
        (lambda: load_dataset(None, None), "the data set (and no folder) is None: it must be a name. There are digits"),
        (lambda: load_dataset("digits", None, samples="10"), "samples is '10': it must be a whole number"),
        (lambda: load_dataset("digits", None, seed=None), "seed is None: it must be a whole number"),
        (lambda: load_dataset("digits", None, test_samples=2.5), "test_samples is 2.5: it must be a whole number"),
        (lambda: build_model(18, 1, 10), "the model is 18: it must be a name. There are simple_conv"),
    ],
)
def test_arguments_of_sets_of_wrong_types(make, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        make()


def test_a_folder_may_be_a_path(image_folder):
    assert load_dataset(image_folder, None).name == load_dataset(str(image_folder), None).name


@pytest.mark.parametrize("confidence", [95, 0, 1, -0.5, "0.95", np.nan, None])
def test_confidences_that_are_no_part(confidence):
    found = result()
    message = f"^confidence is {confidence!r}: it must be a number between 0 and 1, as 0.95$"
    with pytest.raises(InputError, match=message):
        found.layer_intervals(confidence=confidence)
    with pytest.raises(InputError, match=message):
        found.global_interval(confidence=confidence)


ALIKE = [torch.clone, torch.neg]
"""Transformations that also take images without an axis of channels."""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("convolutional", [True, False])
def test_single_images_are_no_batches_of_a_convolution(channels, convolutional):
    images = [torch.rand(channels, 8, 8) for _ in range(4)]
    layers = [nn.Conv2d(channels, 3, 3), nn.ReLU()]
    model = nn.Sequential(*layers, *([] if convolutional else [nn.Flatten(), nn.Linear(3 * 6 * 6, 5)]))
    with pytest.raises(InputError, match=r"^the network's Conv2d takes a batch with 3 axes for a single image: make a "
                       r"batch of single images with torch.stack\(images\), or add the axis"):  # fmt: skip
        measure_variance(model, images, None, ALIKE)
    with pytest.raises(InputError, match=r"\(3, 8, 8\).*: if it is a single image, make a batch with torch.stack"):
        measure_variance(nn.Sequential(nn.Flatten(), nn.Linear(64 * 3 + 1, 5)), [torch.rand(3, 8, 8)], None, ALIKE)
    with pytest.raises(InputError, match=r"\(8, 8, 8\).*: if it is a single image, make a batch with torch.stack"):
        measure_variance(model, torch.rand(8, 8, 8), None, rotations(2))
    with pytest.raises(InputError, match=r"labels must be None .* batch of single images with torch.stack\(images\)"):
        measure_variance(model, images, torch.arange(4), ALIKE)


def test_batches_with_the_axes_of_a_single_image_are_measured_where_they_are_right():
    class AddsChannels(nn.Sequential):
        def forward(self, inputs):
            return super().forward(inputs.unsqueeze(1))

    def measured(model, batches):
        return measure_variance(model, batches, None, ALIKE).samples

    assert measured(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), [torch.rand(1, 8, 8) for _ in range(4)]) == 4
    assert measured(AddsChannels(nn.Conv2d(1, 2, 3)), [torch.rand(3, 8, 8)] * 2) == 6
    assert measured(nn.Conv1d(8, 2, 3), [torch.rand(3, 8, 8)] * 2) == 6  # signals


def test_a_function_that_chooses_no_layer():
    with pytest.raises(InputError, match="no layer was recorded: layers= chooses nothing"):
        measure_variance(small_model(), torch.rand(4, 1, 8, 8), None, rotations(2), layers=lambda name, module: False)


def test_images_that_are_no_numbers():
    images = torch.rand(6, 1, 8, 8)
    images[2, 0, 1, 1], images[4, 0, 0, 0] = torch.nan, torch.inf
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    with pytest.raises(InputError, match="2 of 6 images in a batch have NaN or infinite values"):
        measure_variance(model, images, None, rotations(4))
    with pytest.raises(InputError, match="2 of 6 images in a batch"):
        measure_variance(model, [(images, None)], None, rotations(4))


def test_activations_that_are_no_numbers_are_counted_and_the_others_kept():
    class Overflow(nn.Module):
        def forward(self, inputs):
            return torch.cat([inputs, inputs[:, :2] * torch.finfo(inputs.dtype).max * 4], dim=1)

    model = nn.Sequential(nn.Conv2d(1, 3, 3), Overflow())
    result = measure_variance(model, torch.rand(6, 1, 8, 8), None, rotations(4))
    assert result.non_finite_units() == {"1": 2}
    assert result.layer_means()["1"] == pytest.approx(result.layer_means()["0"])


def test_parameters_that_may_be_infinite_or_are_not_there_yet():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 2, 3)
            self.mask = nn.Parameter(torch.tensor([0.0, -torch.inf]), requires_grad=False)
            self.small = nn.Parameter(torch.ones(3).to(torch.float8_e4m3fn), requires_grad=False)
            self.lazy = nn.LazyLinear(4)

        def forward(self, inputs):
            return self.lazy(self.convolution(inputs).flatten(1))

    model = Masked()
    assert measure_variance(model, torch.rand(6, 1, 8, 8), None, rotations(4)).samples == 6
    with torch.no_grad():
        model.mask[0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite: 1 in mask"):
        measure_variance(model, torch.rand(6, 1, 8, 8), None, rotations(4))


def test_a_preview_that_a_camera_put_behind_its_picture_is_no_second_frame(image_folder):
    pictures = [Image.new("RGB", (32, 32), (shade, shade, shade)) for shade in (200, 10)]
    (image_folder / "test" / "cat" / "0.png").unlink()
    pictures[0].save(image_folder / "test" / "cat" / "0.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    assert load_dataset(str(image_folder), None).test.images[0, :, 7, 9].tolist() == [200, 200, 200]
