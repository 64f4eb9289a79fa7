"""Data sets: sizes, splits, class names, and the reading of what a user may have."""

import hashlib
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from pytorch.datasets import dataset_name, load_dataset
from pytorch.datasets.dataset import Dataset, Source, balanced_subset
from pytorch.datasets.digits import FILE
from pytorch.datasets.normalization import Normalization
from pytorch.errors import InputError
from pytorch.torchvision_import import import_torchvision

# The order in which the authors of CIFAR-10 publish its classes, and in which its labels count.
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_digits(tmp_path):
    digits = load_dataset("digits", tmp_path)
    assert digits.train.images.shape == (1442, 1, 32, 32)
    assert digits.test.images.shape == (355, 1, 32, 32)
    assert digits.classes == list("0123456789")
    assert digits.train.images.dtype == torch.uint8
    assert digits.test.labels.bincount().tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    assert not digits.train.images[:, :, :4].any(), "the margin is black"
    assert digits.train.images.max() == 255
    assert list(tmp_path.iterdir()) == []


def test_digits_are_the_file_that_their_page_describes():
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in FILE.with_name("digits.md").read_text(encoding="utf-8")


def test_no_digit_is_in_both_splits_or_lost():
    table = np.loadtxt(FILE, delimiter=",")
    digits = load_dataset("digits", None)
    assert len(digits.train) + len(digits.test) == len(table)
    images = [image.numpy().tobytes() for split in (digits.train, digits.test) for image in split.images]
    assert len(set(images)) == len(np.unique(table[:, :-1], axis=0))


def test_mnist_is_padded_to_32(small_mnist):
    mnist = load_dataset("MNIST", small_mnist)
    assert mnist.train.images.shape == (30, 1, 32, 32)
    assert mnist.test.images.shape == (20, 1, 32, 32)
    assert mnist.classes == list("0123456789")
    assert mnist.test.labels.tolist() == [index % 10 for index in range(20)]
    assert mnist.train.images[:, :, 2:-2, 2:-2].any()
    edge = mnist.train.images.clone()
    edge[:, :, 2:-2, 2:-2] = 0
    assert not edge.any()


@pytest.fixture
def small_cifar10(tmp_path, monkeypatch):
    """Batches in CIFAR-10's own format: the pixels of a sample all have the value of its label."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    labels = [3, 5, 0, 9, 3]
    data = np.repeat(np.array(labels, dtype=np.uint8)[:, None], 3072, axis=1)
    data[:, :1024] += 100  # the red plane comes first
    contents = {name: {"data": data, "labels": labels} for name in ("data_batch_1", "test_batch")}
    contents["batches.meta"] = {"label_names": CIFAR10}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in contents}
    cifar10 = import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(cifar10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(cifar10, "meta", meta)
    return tmp_path


def test_cifar10_classes_are_in_their_published_order(small_cifar10):
    """A cat is a cat: the name of label 3, in a sample whose label is 3."""
    cifar10 = load_dataset("cifar-10", small_cifar10)
    assert cifar10.classes == CIFAR10
    for image, label in zip(cifar10.train.images, cifar10.train.labels, strict=True):
        assert (image[1:] == label).all()
        assert (image[0] == label + 100).all()
    assert cifar10.classes[cifar10.test.labels[0]] == "cat"


def test_a_data_set_that_cannot_be_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("cifar10", "mnist"):
        with pytest.raises(InputError, match=f"{name} is not in .* and could not be downloaded .*--data-dir") as info:
            load_dataset(name, tmp_path)
        assert "\n" not in str(info.value)


def test_image_folder(image_folder):
    pets = load_dataset(str(image_folder), None)
    assert pets.name == "folder-pets"
    assert pets.classes == ["cat", "dog"]
    assert pets.train.images.shape == (12, 3, 32, 32)
    assert pets.test.labels.tolist() == [0] * 4 + [1] * 4
    expected = np.array(Image.open(image_folder / "test" / "dog" / "2.png"))
    np.testing.assert_array_equal(pets.test.images[6].permute(1, 2, 0), expected)


def test_images_of_other_sizes_and_modes_are_brought_to_32_and_it_is_said(image_folder, capsys):
    Image.new("L", (64, 48), 200).save(image_folder / "train" / "cat" / "0.png")
    pets = load_dataset(str(image_folder), None)
    assert (pets.train.images[0] == 200).all()
    assert "train: 1 of 12 images resized to 32 x 32 pixels" in capsys.readouterr().err


def remove(folder):
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: remove(folder / "test"), "has no folder test/"),
        (lambda folder: remove(folder / "train" / "cat"), "only in one of them: \\['cat'\\]"),
        (lambda folder: (folder / "test" / "newt").mkdir(), "no images in the classes \\['newt'\\]"),
        (lambda folder: (folder / "test" / "cat" / "1.png").write_text("no image"), "1.png cannot be read as an image"),
        (
            lambda folder: Image.new("I;16", (32, 32)).save(folder / "test" / "cat" / "1.png"),
            "1.png: images of mode I;16",
        ),
    ],
)
def test_folders_that_cannot_be_used(image_folder, spoil, message):
    spoil(image_folder)
    with pytest.raises(InputError, match=message):
        _ = load_dataset(str(image_folder), None).test


def test_images_are_read_when_they_are_asked_for(image_folder):
    """Measuring needs no training image."""
    pets = load_dataset(str(image_folder), None)
    (image_folder / "train" / "cat" / "0.png").write_text("no image")
    assert len(pets.test) == 8
    with pytest.raises(InputError, match=r"0.png cannot be read"):
        _ = pets.train


def test_a_class_that_cannot_be_named(image_folder):
    for split in ("train", "test"):
        (image_folder / split / "cat").rename(image_folder / split / "all")
    with pytest.raises(InputError, match="rename class"):
        load_dataset(str(image_folder), None)


def test_files_that_are_no_images_are_left_out_and_it_is_said(image_folder, capsys):
    (image_folder / "train" / "cat" / "notes.txt").write_text("mine")
    shutil.copy(image_folder / "train" / "cat" / "0.png", image_folder / "train")
    assert len(load_dataset(str(image_folder), None).train) == 12
    assert "train: files skipped that are in no class or not named as images: 2" in capsys.readouterr().err


def test_what_is_hidden_is_skipped_and_counted(image_folder, tmp_path, capsys):
    image_folder = shutil.copytree(image_folder, tmp_path / ".cache" / "pets")
    fingerprint = load_dataset(str(image_folder), None).source.fingerprint
    assert capsys.readouterr().err == ""
    image = (image_folder / "train" / "cat" / "0.png").read_bytes()
    for place in ("train/.ipynb_checkpoints", "train/__MACOSX/cat", "train/cat/.small/a", "train/cat"):
        (image_folder / place).mkdir(parents=True, exist_ok=True)
        (image_folder / place / "._a.png").write_bytes(image)
        (image_folder / place / "0.png").write_bytes(image)
    (image_folder / "test" / ".empty").mkdir()
    (image_folder / "test" / ".DS_Store").touch()
    pets = load_dataset(str(image_folder), None)
    told = f"{image_folder}: hidden files and folders skipped (named .* or __MACOSX): 14\n"
    assert capsys.readouterr().err == told
    assert (pets.classes, len(pets.train), len(pets.test)) == (["cat", "dog"], 12, 8)
    assert pets.source.fingerprint == fingerprint


def test_photographs_are_turned_as_their_camera_noted(image_folder):
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 32, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    image.save(image_folder / "test" / "cat" / "0.png", exif=exif)
    found = load_dataset(str(image_folder), None).test.images[0, 0]
    assert found[:, 24:].min() == 255
    assert found[:, :24].max() == 0


def test_folders_are_told_apart_by_their_files_and_not_by_their_place(image_folder, tmp_path):
    fingerprint = load_dataset(str(image_folder), None).source.fingerprint
    moved = shutil.copytree(image_folder, tmp_path / "other" / "pets")
    assert load_dataset(str(moved), None).source.fingerprint == fingerprint
    Image.new("RGB", (32, 32)).save(moved / "test" / "cat" / "0.png")
    assert load_dataset(str(moved), None).source.fingerprint != fingerprint


def test_a_damaged_archive_is_named(small_mnist):
    load_dataset("mnist", small_mnist)
    (small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(InputError, match=r"mnist in .* is damaged .*: remove it there"):
        load_dataset("mnist", small_mnist)


def test_a_known_name_means_no_folder(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert dataset_name("digits") == "digits"
    assert dataset_name("./digits") == "folder-digits"
    with pytest.raises(InputError, match=r"unknown data set .and no folder. 'digts': did you mean digits"):
        dataset_name("digts")


def test_the_samples_of_a_measurement_are_found_again():
    """By how many there were of each class, also where a class had too few."""
    labels = torch.tensor([0] * 5 + [1] * 9 + [2] * 20)
    images = torch.arange(34, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    source = Source(["a", "b", "c"], (labels, labels), (lambda chosen: images[chosen],) * 2)
    for samples in (None, 3, 10, 20, 33):
        test = Dataset("x", source, samples, seed=4).test
        again = Dataset("x", source, None, seed=0).measured(torch.bincount(test.labels).numpy(), seed=4)
        assert torch.equal(again.images, test.images)
        assert torch.equal(again.labels, test.labels)


def test_samples_are_balanced_and_drawn_with_the_seed():
    labels = torch.tensor([0] * 50 + [1] * 20 + [2] * 3)
    chosen = balanced_subset(labels, classes=3, samples=20, seed=0)
    assert labels[chosen].bincount().tolist() == [7, 7, 3]
    assert torch.equal(chosen, chosen.unique())
    assert torch.equal(chosen, balanced_subset(labels, 3, 20, seed=0))
    assert not torch.equal(chosen, balanced_subset(labels, 3, 20, seed=1))
    assert len(balanced_subset(labels, 3, None, seed=0)) == 73
    with pytest.raises(InputError, match="2 samples for 3 classes"):
        balanced_subset(labels, 3, 2, seed=0)


def test_normalization_constants_are_exact():
    images = torch.randint(0, 256, (3000, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    constants = Normalization.of(images)
    scaled = images.numpy() / 255
    np.testing.assert_allclose(constants.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(constants.std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)
    normalized = constants(images).double()
    torch.testing.assert_close(normalized.mean(dim=(0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalized.std(dim=(0, 2, 3), correction=0), torch.ones(3).double())
    assert Normalization.of(torch.zeros(2, 1, 2, 2, dtype=torch.uint8)).std == (1.0,)
