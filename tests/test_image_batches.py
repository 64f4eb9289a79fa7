"""Batches decoded from a folder: their values, their order, what is left out, and the processes that decode."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import heed_interruptions
from PIL import Image
from torch import nn

from pytorch.datasets import image_batches
from pytorch.datasets.image_batches import folder_batches, resized
from pytorch.datasets.image_files import open_image
from pytorch.errors import InputError, ReportedError
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.variance import measure_variance

ROOT = Path(__file__).parents[1]
SIZE = 24


def photo(width, height, seed=0):
    """Waves and noise: any shift or other filter shows."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / (3 + seed % 5) + y / 7), np.cos(x / 11), np.sin(x * y / 900)], axis=-1)
    return (127 + 90 * waves + random.normal(0, 10, (height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Eleven cats and five dogs, each of another size."""
    folder = tmp_path / "photos"
    for name, count in (("cat", 11), ("dog", 5)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = photo(40 + 3 * index, 60 - 2 * index, seed=index + 100 * (name == "dog"))
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture
def unlabelled(photos):
    for index, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(photos / f"{index:02}.png")
    for name in ("cat", "dog"):
        (photos / name).rmdir()
    return photos


def triangle_resized(pixels, size):
    """Resize the shorter side and crop the centre, with a triangle filter as wide as a pixel of the result."""
    values = pixels.astype(np.float64)
    shorter = min(pixels.shape[:2])
    for axis in (0, 1):
        side = pixels.shape[axis]
        whole = size * side // shorter
        scale = side / whole
        centres = (np.arange(size) + round((whole - size) / 2) + 0.5) * scale
        weights = (1 - np.abs(np.arange(side) + 0.5 - centres[:, None]) / max(scale, 1)).clip(0)
        weights /= weights.sum(axis=1, keepdims=True)
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return values


@pytest.mark.parametrize(("width", "height"), [(24, 24), (48, 24), (61, 47), (47, 61), (500, 375), (13, 9), (700, 30)])
def test_images_are_resized_by_the_definition(width, height):
    pixels = photo(width, height)
    found = np.asarray(resized(Image.fromarray(pixels), SIZE))
    assert found.shape == (SIZE, SIZE, 3)
    # PIL rounds to whole numbers twice.
    np.testing.assert_allclose(found, triangle_resized(pixels, SIZE), atol=1.01)


@pytest.mark.parametrize(("width", "height"), [(61, 47), (500, 375), (375, 500), (300, 41)])
def test_images_are_resized_as_torchvision_does(width, height):
    import_torchvision()
    from torchvision.transforms.functional import center_crop, resize

    image = Image.fromarray(photo(width, height))
    expected = np.asarray(center_crop(resize(image, SIZE), [SIZE, SIZE])).astype(int)
    assert abs(np.asarray(resized(image, SIZE)) - expected).max() <= 1


def test_batches_have_the_images_of_the_files(photos):
    Image.fromarray(photo(50, 40)).convert("L").save(photos / "cat" / "0.png")
    batches = folder_batches(photos, SIZE, 5, workers=0)
    expected = {}
    for label, name in enumerate(("cat", "dog")):
        for path in (photos / name).iterdir():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            expected[path] = label, triangle_resized(pixels, SIZE).transpose(2, 0, 1)
    assert batches.classes == ["cat", "dog"]
    for images, labels in batches:
        assert (images.dtype, images.shape[1:], labels.dtype) == (torch.uint8, (3, SIZE, SIZE), torch.int64)
        for image, label in zip(images.numpy(), labels.tolist(), strict=True):
            (match,) = [path for path, (_, pixels) in expected.items() if abs(pixels - image).max() <= 1.01]
            assert expected.pop(match)[0] == label
    assert not expected


def test_photographs_are_turned_as_their_camera_noted(tmp_path):
    pixels = np.zeros((400, 800, 3), dtype=np.uint8)
    pixels[:200] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "0.jpg", exif=exif)
    ((images, labels),) = folder_batches(tmp_path, SIZE, 5, workers=0)
    assert labels is None
    assert images[0, :, :, 13:].min() > 250
    assert images[0, :, :, :11].max() < 5


@pytest.mark.parametrize(("side", "scale"), [(50, 1), (99, 1), (100, 2), (199, 2), (250, 4)])
def test_a_decoder_shrinks_an_image_to_no_less_than_asked_for(tmp_path, side, scale):
    Image.fromarray(photo(300, side)).save(tmp_path / "0.jpg")
    assert open_image(tmp_path / "0.jpg", at_least=50).size == (-(-300 // scale), -(-side // scale))
    assert open_image(tmp_path / "0.jpg").size == (300, side)


def test_shrinking_while_decoding_hardly_changes_values(tmp_path):
    """In an image without detail finer than a pixel of the result; any shift would show."""
    y, x = np.mgrid[:900, :1200]
    pixels = 127 + 120 * np.stack([np.sin(x / 20 + y / 50), np.cos(y / 20), np.sin(x / 30) * np.cos(y / 30)], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "0.jpg", quality=95)
    ((images, _),) = folder_batches(tmp_path, 100, 5, workers=0)
    decoded = np.asarray(Image.open(tmp_path / "0.jpg"))
    np.testing.assert_allclose(images[0].permute(1, 2, 0), triangle_resized(decoded, 100), atol=3)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 7, 16, 100])
def test_the_order_is_random_and_balanced(photos, batch_size):
    batches = folder_batches(photos, SIZE, batch_size, workers=0)
    sizes = [len(images) for images, _ in batches]
    assert sum(sizes) == batches.samples == 16
    assert len(sizes) == -(-16 // batch_size)
    assert max(sizes) - min(sizes) <= 1
    labels = torch.cat([labels for _, labels in batches])
    dogs = labels.cumsum(dim=0)
    assert (dogs - torch.arange(1, 17) * 5 / 16).abs().max() <= 1
    again = torch.cat([images for images, _ in batches])
    assert torch.equal(again, torch.cat([images for images, _ in batches]))
    others = folder_batches(photos, SIZE, batch_size, seed=1, workers=0)
    assert not torch.equal(again, torch.cat([images for images, _ in others]))


@pytest.mark.parametrize("kind", ["photos", "unlabelled"])
def test_workers_change_nothing(kind, request):
    folder = request.getfixturevalue(kind)
    alone = [*folder_batches(folder, SIZE, 5, workers=0)]
    state = torch.get_rng_state()
    for workers in (1, 2, None):
        for (images, labels), (expected, right) in zip(
            folder_batches(folder, SIZE, 5, workers=workers), alone, strict=True
        ):
            assert torch.equal(images, expected)
            assert (labels is None and right is None) or torch.equal(labels, right)
    assert torch.equal(torch.get_rng_state(), state)
    assert not multiprocessing.active_children()


def test_batches_of_many_chunks(photos):
    """More images than a worker decodes in one go, whose number divides nothing."""
    for index in range(30):
        shutil.copy(photos / "cat" / "0.png", photos / "cat" / f"{index + 20}.png")
    alone = [*folder_batches(photos, SIZE, 23, workers=0)]
    assert [len(images) for images, _ in alone] == [23, 23]
    for (images, labels), (expected, right) in zip(folder_batches(photos, SIZE, 23, workers=2), alone, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, right)


def test_samples_are_balanced_and_drawn_with_the_seed(photos):
    batches = folder_batches(photos, SIZE, 4, samples=6, workers=0)
    assert batches.samples == 6
    assert torch.cat([labels for _, labels in batches]).bincount().tolist() == [3, 3]
    with pytest.raises(InputError, match="1 samples for 2 classes"):
        folder_batches(photos, SIZE, 4, samples=1)


def test_samples_without_classes_are_drawn_with_the_seed(unlabelled):
    def drawn(seed):
        return {
            each.numpy().tobytes() for images, _ in folder_batches(unlabelled, SIZE, 4, 6, seed, 0) for each in images
        }

    assert len(drawn(0)) == 6
    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


# Layouts


def test_of_two_splits_the_test_images_are_used(image_folder):
    batches = folder_batches(image_folder, 32, 8, workers=0)
    ((images, labels),) = batches
    assert batches.classes == ["cat", "dog"]
    assert labels.bincount().tolist() == [4, 4]
    assert images.min() >= 150


def test_nested_folders_belong_to_their_class(photos):
    (photos / "dog" / "small" / "old").mkdir(parents=True)
    Image.fromarray(photo(30, 30)).save(photos / "dog" / "small" / "old" / "a.JPG")
    batches = folder_batches(photos, SIZE, 100, workers=0)
    assert next(iter(batches))[1].bincount().tolist() == [11, 6]


@pytest.mark.parametrize("kind", ["photos", "unlabelled"])
def test_what_is_skipped_is_counted(kind, request, capsys):
    folder = request.getfixturevalue(kind)
    fingerprint = folder_batches(folder, SIZE, 5).fingerprint
    assert capsys.readouterr().err == ""
    image = next(folder.rglob("*.png")).read_bytes()
    for place in ("__MACOSX", ".ipynb_checkpoints"):
        (folder / place).mkdir()
        (folder / place / "a.png").write_bytes(image)
    (folder / "notes.txt").touch()
    batches = folder_batches(folder, SIZE, 5)
    told = capsys.readouterr().err
    assert f"{folder}: hidden files and folders skipped (named .* or __MACOSX): 4\n" in told
    assert f"{folder}: files skipped that are not named as images: 1\n" in told
    assert batches.samples == 16
    assert batches.fingerprint == fingerprint


def test_a_folder_is_identified_by_all_its_images(photos):
    fingerprint = folder_batches(photos, SIZE, 5).fingerprint
    assert folder_batches(photos, SIZE, 9, samples=4, seed=3).fingerprint == fingerprint
    shutil.copy(photos / "dog" / "0.png", photos / "dog" / "1.png")
    changed = folder_batches(photos, SIZE, 5).fingerprint
    batches = folder_batches(photos, SIZE, 5)
    (photos / "dog" / "1.png").unlink()
    assert len({fingerprint, changed, batches.fingerprint}) == 3, "a file that is gone counts by its name"


def loose_image(folder):
    shutil.copy(folder / "dog" / "0.png", folder)


def rename(folder):
    for old, new in (("cat", "train"), ("dog", "Val")):
        (folder / old).rename(folder / new)


def empty(folder):
    for path in folder.rglob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (loose_image, r"has 1 images beside folders of images \(cat, ...\): if these are classes, move"),
        (rename, "Val, train look like splits: give one of them as the folder"),
        (empty, r"photos has no images \(visible files named .jpg"),
        (lambda folder: (folder / "newt").mkdir(), r"no images in the classes \['newt'\]"),
        (lambda folder: (folder / "cat").rename(folder / "all"), "rename class 'all'"),
        (shutil.rmtree, "photos is no folder: give one with images"),
    ],
)
def test_folders_that_cannot_be_used(photos, spoil, message):
    spoil(photos)
    with pytest.raises(InputError, match=message) as info:
        folder_batches(photos, SIZE, 5)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("image_size", 0, 1),
        ("image_size", None, 1),
        ("batch_size", 2.5, 1),
        ("samples", 0, 1),
        ("workers", -1, 0),
        ("seed", "a", 0),
    ],
)
def test_arguments_that_cannot_be_used(photos, name, value, least):
    arguments = {"image_size": SIZE, "batch_size": 5, name: value}
    with pytest.raises(InputError, match=f"{name} is {value!r}: it must be a whole number, at least {least}"):
        folder_batches(photos, **arguments)


# Files that cannot be read


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_are_left_out_and_named(photos, workers, capsys):
    batches = folder_batches(photos, SIZE, 4, workers=workers)
    whole = torch.cat([images for images, _ in batches])
    assert batches.unreadable == []
    (photos / "dog" / "3.png").write_text("no image")
    (photos / "cat" / "2.png").unlink()
    Image.new("I;16", (32, 32)).save(photos / "cat" / "0.png")
    content = (photos / "cat" / "5.png").read_bytes()
    (photos / "cat" / "5.png").write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    found = [*batches]
    images, labels = torch.cat([images for images, _ in found]), torch.cat([labels for _, labels in found])
    assert labels.bincount().tolist() == [8, 4]
    left = {image.numpy().tobytes() for image in whole} - {image.numpy().tobytes() for image in images}
    assert len(images) == 12
    assert len(left) == 4
    spoilt = {photos / "dog" / "3.png", photos / "cat" / "2.png", photos / "cat" / "0.png", photos / "cat" / "5.png"}
    assert set(batches.unreadable) == spoilt
    told = capsys.readouterr().err
    assert told.startswith(f"{photos}: 4 of 16 images left out: ")
    assert sum(str(path) in told for path in spoilt) == 3
    assert told.endswith("; and 1 more\n")
    assert told.count("\n") == 1
    shutil.copy(photos / "cat" / "1.png", photos / "cat" / "0.png")
    list(batches)
    assert len(batches.unreadable) == 3


def test_a_batch_of_unreadable_files_is_no_batch(unlabelled):
    batches = folder_batches(unlabelled, SIZE, 1, workers=0)
    for path in sorted(unlabelled.iterdir())[:6]:
        path.unlink()
    assert [len(images) for images, _ in batches] == [1] * 10


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_of_unreadable_files_is_refused(photos, workers, capsys):
    batches = folder_batches(photos, SIZE, 4, workers=workers)
    for path in photos.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(
        InputError, match=r"photos: none of the 16 images can be read: .*png cannot be read as an image"
    ):
        list(batches)
    assert len(batches.unreadable) == 16
    assert capsys.readouterr().err == ""


# Measuring


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, inputs):
        return self.conv(inputs / 255).mean(dim=(2, 3))


@pytest.mark.parametrize("kind", ["photos", "unlabelled"])
def test_a_folder_measures_as_its_tensor_does(kind, request):
    torch.manual_seed(0)
    batches = folder_batches(request.getfixturevalue(kind), SIZE, 5, workers=2)
    found = measure_variance(Mean(), batches, None, rotations(3), classes=batches.classes)
    images, labels = zip(*batches, strict=True)
    labels = torch.cat(labels) if batches.classes else None
    torch.manual_seed(0)
    expected = measure_variance(Mean(), torch.cat(images), labels, rotations(3), classes=batches.classes)
    assert found.classes == batches.classes
    assert (found.samples, found.samples_offered) == (16, 16)
    for group in expected.groups:
        for name, values in expected.normalized_variance(group).items():
            np.testing.assert_allclose(found.normalized_variance(group)[name], values, rtol=1e-4)


@pytest.mark.parametrize("tolerance", [None, 1e-9])
def test_samples_left_out_are_not_offered(photos, tolerance):
    (photos / "dog" / "3.png").write_text("no image")
    batches = folder_batches(photos, SIZE, 5, workers=0)
    found = measure_variance(Mean(), batches, None, rotations(3), tolerance=tolerance)
    assert found.samples == found.samples_offered == 15


# Processes


@pytest.fixture
def many(tmp_path):
    """Images in many more chunks than are decoded ahead."""
    (tmp_path / "many").mkdir()
    for index in range(200):
        Image.fromarray(photo(60, 50, seed=index)).save(tmp_path / "many" / f"{index:03}.png")
    return folder_batches(tmp_path / "many", SIZE, 20, workers=2)


def test_workers_end_when_iterating_stops_early(many):
    for images, _ in many:
        assert len(multiprocessing.active_children()) == 2
        assert len(images) == 20
        break
    assert not multiprocessing.active_children()
    torch.manual_seed(0)
    found = measure_variance(Mean(), many, None, rotations(3), tolerance=0.5)
    assert 100 <= found.samples < found.samples_offered == 200
    assert not multiprocessing.active_children()


def test_workers_end_when_the_network_fails(many):
    def preprocess(images):
        assert multiprocessing.active_children()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as info:
        measure_variance(Mean(), many, None, rotations(3), preprocess=preprocess)
    assert info.tb, "the traceback, and with it every frame, is still there"
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are not forked")
def test_a_worker_that_is_killed_gives_one_line(many, monkeypatch):
    monkeypatch.setattr(image_batches, "resized", lambda image, size: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(
        ReportedError, match=r"decoding images failed \(DataLoader worker .*: use fewer workers"
    ) as info:
        list(many)
    assert "\n" not in str(info.value)
    assert not multiprocessing.active_children()


INTERRUPTED = """
import sys, time, torch
from torch import nn
from pytorch.datasets.image_batches import folder_batches
from pytorch.transformations import rotations
from pytorch.variance import measure_variance
def slowly(images):
    print("computing", flush=True)
    time.sleep(0.2)
    return images / 255
batches = folder_batches(sys.argv[1], 224, 20, workers=2)
measure_variance(nn.Sequential(nn.Conv2d(3, 2, 3)), batches, None, rotations(2), preprocess=slowly, check=False)
"""


@pytest.fixture
def interrupted(many):
    """A process that computes, in a group of its own, while what its workers have decoded fills the pipe."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(many._folder)], env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interruptions,
    ) as process:  # fmt: skip
        for _ in range(3):
            assert process.stdout.readline() == "computing\n"
        yield process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_group(group, seconds):
    """Wait until no process of a group is left."""
    end = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.1)
        pytest.fail("a process is left")


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_ctrl_c_ends_all_processes_with_one_traceback(interrupted):
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does
    _, told = interrupted.communicate(timeout=30)
    assert told.count("Traceback") == 1
    assert told.strip().endswith("KeyboardInterrupt")
    wait_for_group(interrupted.pid, seconds=5)


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_workers_end_when_the_process_is_killed(interrupted):
    interrupted.kill()
    interrupted.wait()
    wait_for_group(interrupted.pid, seconds=30)  # workers look every 5 seconds


def test_a_dangling_link_is_left_out(tmp_path, capsys):
    Image.effect_noise((40, 40), 50).save(tmp_path / "one.png")
    (tmp_path / "two.png").symlink_to(tmp_path / "nowhere.png")
    batches = folder_batches(tmp_path, 32, 4, workers=0)
    assert len(batches.fingerprint) == 16
    assert sum(len(images) for images, _ in batches) == 1
    assert batches.unreadable == [tmp_path / "two.png"]
