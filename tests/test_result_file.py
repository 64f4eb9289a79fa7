"""A result in a file of its own: complete, whole or absent, and readable without this project."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from builders import result
from torch import nn

from pytorch.errors import FileError, InputError
from pytorch.files.sealed_file import Format, write_sealed
from pytorch.transformations import rotations
from pytorch.variance import VarianceResult, measure_variance
from pytorch.variance.result_file import RESULT_FORMAT


@pytest.fixture
def found(pair):
    """A result in which no optional field is empty."""
    return pair.any_result


def assert_equal(found, expected):
    for field in dataclasses.fields(expected):
        if field.name == "errors":
            for name, values in vars(expected.errors).items():
                np.testing.assert_array_equal(getattr(found.errors, name), values, err_msg=name)
        else:
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), err_msg=field.name)


def test_a_result_comes_back_as_it_went(tmp_path, found):
    for path in (tmp_path / "new" / "a file", str(tmp_path / "another")):
        found.save(path)
        assert_equal(VarianceResult.load(path), found)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a file", "another", "new"]


def test_a_result_without_classes_and_rounding_comes_back(tmp_path):
    alone = measure_variance(nn.Conv2d(1, 3, 3), torch.rand(5, 1, 9, 9), None, rotations(4), aggregation="none")
    alone = dataclasses.replace(alone, rounding=None)
    alone.save(tmp_path / "file")
    assert_equal(VarianceResult.load(tmp_path / "file"), alone)


def test_a_file_is_plain(tmp_path, found):
    """Numpy arrays and plain containers: readable without this project."""
    found.save(tmp_path / "file")
    content = pickle.loads((tmp_path / "file").read_bytes())
    assert (content["format"], content["version"]) == ("variance-experiments result", 1)
    assert content["content"]["layer_names"] == found.layer_names


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        VarianceResult.load(tmp_path / "file")


def test_a_file_that_cannot_be_written_is_named(tmp_path, found):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="file/inside cannot be written: "):
        found.save(tmp_path / "file" / "inside")


@pytest.mark.parametrize("change", [lambda whole: whole[:-100], lambda whole: b"x" + whole[1:], lambda whole: b"\n"])
def test_a_damaged_or_foreign_file_is_named_in_one_line(tmp_path, found, change):
    path = tmp_path / "file"
    found.save(path)
    path.write_bytes(change(path.read_bytes()))
    reason = r"cannot be read as a result \((it is|this program) [^\n]*\); make it again, or give another file$"
    with pytest.raises(FileError, match=reason):
        VarianceResult.load(path)


def test_a_newer_file_asks_for_an_update(tmp_path, found):
    path, newer = tmp_path / "file", RESULT_FORMAT.version + 1
    found.save(path)
    content = {**pickle.loads(path.read_bytes()), "version": newer}
    write_sealed(path, Format(RESULT_FORMAT.name, newer), pickle.dumps(content, protocol=5))
    with pytest.raises(FileError, match=rf"a result: it has version {newer} of its format, .*: update the program$"):
        VarianceResult.load(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layer_names": ["x" * 301, "y"]}, "it has a name of 301 letters"),
        ({"layer_axes_known": ["known", "guessed"]}, "its axes are neither known, assumed nor given"),
        ({"samples": "many"}, "its samples: str is not an instance of int"),
        ({"classes": [np.str_("ant"), "bee", "cow"]}, "it has a str_ in it, which is not allowed"),
        ({"tolerance": np.float64(0.5)}, "it has a float64 in it, which is not allowed"),
        ({"layer_names": ["\ud800", "y"]}, "it has text that cannot be encoded"),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, changes, reason):
    with pytest.raises(ValueError, match=reason):
        result(**changes).save(tmp_path / "file")
    assert not any(tmp_path.iterdir())


class Described:
    """A transformation with a description of its own."""

    def __init__(self, text, factor):
        self.text, self.factor = text, factor

    def __call__(self, batch):
        return batch * self.factor

    def __str__(self):
        return self.text


def test_whatever_is_measured_can_be_saved(tmp_path):
    """A measurement of hours must not end at the line that saves it."""
    changes = [Described("", 1), Described("x" * 999, 2), Described("long", 3)]
    measured = measure_variance(
        nn.Conv2d(1, 3, 3), torch.rand(20, 1, 9, 9), torch.arange(20) % 2, changes,
        classes=np.array(["ant", "x" * 300]), tolerance=np.float64(0.5),
    )  # fmt: skip
    measured.save(tmp_path / "file")
    assert_equal(VarianceResult.load(tmp_path / "file"), measured)
    assert measured.transformations[1:] == ["x" * 299 + "…", "long"]
    assert "Described" in measured.transformations[0]


@pytest.mark.parametrize("name", ["", "x" * 301])
def test_class_names_that_no_file_takes_are_refused_at_once(name):
    with pytest.raises(InputError, match=rf"has {len(name)} letters: there must be 1 to 300"):
        measure_variance(
            nn.Conv2d(1, 3, 3), torch.rand(20, 1, 9, 9), torch.arange(20) % 2, rotations(4), classes=[name, "ant"]
        )
