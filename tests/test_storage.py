"""Files: whole or absent, complete in themselves, and harmless whoever made them."""

import fcntl
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import result

from pytorch.errors import FileError, InputError
from pytorch.experiments.storage import (
    load_model,
    load_values,
    model_file,
    save_model,
    save_values,
    values_file,
    values_files,
)
from pytorch.experiments.trained_model import weights_digest
from pytorch.experiments.variance_pair import VariancePair
from pytorch.files.whole_file import whole_file
from pytorch.models import build_model


def values_path(results_dir):
    return values_file(results_dir, "simple_conv", "digits", "rotation", "mean")


def test_a_model_comes_back_as_it_went(tmp_path, trained):
    path = model_file(tmp_path, "simple_conv", "digits", "rotated")
    assert path == tmp_path / "models" / "simple_conv_digits" / "rotated.pt"
    save_model(path, trained)
    found = load_model(path)
    assert vars(found).keys() == vars(trained).keys()
    for name in vars(trained).keys() - {"weights"}:
        assert getattr(found, name) == getattr(trained, name), name
    images = torch.rand(2, 1, 32, 32)
    expected = build_model("simple_conv", 1, 3)
    expected.load_state_dict(trained.weights)
    torch.testing.assert_close(found.network()(images), expected(images))


def test_a_measurement_comes_back_as_it_went_whatever_its_file_is_called(tmp_path, pair):
    path = values_path(tmp_path)
    assert path == tmp_path / "values" / "simple_conv_digits_rotation_mean.pickle"
    save_values(path, pair)
    path.rename(path.with_name("x.pickle"))
    (found,) = map(load_values, values_files(tmp_path / "values"))
    assert {**vars(found), "results": None} == {**vars(pair), "results": None}
    for trained_on in ("unrotated", "rotated"):
        results = found.results[trained_on], pair.results[trained_on]
        for name, expected in vars(results[1].errors).items():
            np.testing.assert_array_equal(getattr(results[0].errors, name), expected, err_msg=name)
        for name, expected in vars(pair.results[trained_on]).items():
            if name == "errors":
                continue
            np.testing.assert_array_equal(getattr(found.results[trained_on], name), expected, err_msg=name)


def test_a_values_file_is_plain(tmp_path, pair):
    """Numpy arrays and plain containers: readable without this project."""
    path = values_path(tmp_path)
    save_values(path, pair)
    content = pickle.loads(path.read_bytes())
    assert content["format"] == "variance-experiments values"
    assert content["version"] == 6
    kinds = set()

    def walk(value):
        kinds.add(type(value))
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(part)

    walk(content)
    assert kinds <= {dict, list, str, int, float, bool, type(None), np.ndarray}


def test_a_model_file_is_plain(tmp_path, trained):
    """Tensors and plain containers: readable by torch alone."""
    path = model_file(tmp_path, "simple_conv", "digits", "rotated")
    save_model(path, trained)
    content = torch.load(path, weights_only=True)
    assert (content["format"], content["version"]) == ("variance-experiments model", 4)
    torch.testing.assert_close(content["content"]["weights"]["conv1.weight"], trained.weights["conv1.weight"])


def test_weights_of_another_architecture_are_refused(trained):
    other = build_model("all_convolutional", 1, 3).state_dict()
    with pytest.raises(InputError, match="the weights of the rotated model do not fit simple_conv"):
        replace(trained, weights=other).network()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "new" / "file"
    with whole_file(path) as file:
        file.write(b"old")

    def fail():
        with whole_file(path) as file:
            file.write(b"half of the new")
            raise OSError("disk full")

    with pytest.raises(FileError, match="file cannot be written: disk full"):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_left_alone(tmp_path):
    path = tmp_path / "file"
    abandoned, foreign = tmp_path / ".file.1.part", tmp_path / ".other.1.part"
    for part in (abandoned, foreign):
        part.write_bytes(b"half")
    (tmp_path / ".file.2.part").touch()
    with (tmp_path / ".file.2.part").open("rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        with whole_file(path) as file:
            file.write(b"new")
        assert {part.name for part in tmp_path.iterdir()} == {"file", ".other.1.part", ".file.2.part"}
    assert path.read_bytes() == b"new"


def test_results_that_differ_in_more_than_numbers_are_no_pair(pair):
    results = {"unrotated": result(), "rotated": result(layer_names=["conv", "dense"])}
    with pytest.raises(ValueError, match="differ in their layer names"):
        VariancePair(**{**vars(pair), "results": results})


def test_names_that_lead_elsewhere_are_refused(pair, trained):
    for content in (pair, trained):
        with pytest.raises(ValueError, match="cannot be the name"):
            replace(content, dataset="../elsewhere")


def test_a_digest_follows_from_every_bit_of_the_weights(trained):
    weights = {name: values.clone() for name, values in trained.weights.items()}
    assert weights_digest(weights) == weights_digest(trained.weights)
    name = list(weights)[-1]
    weights[name].view(-1)[-1] += 1
    assert weights_digest(weights) != weights_digest(trained.weights)
