"""Sealed files: whether one is foreign, of another kind or version, damaged, or cut off, is told apart."""

import os
import pickle
import re

import pytest
import torch

from pytorch.errors import FileError
from pytorch.experiments.storage import (
    VALUES_FORMAT,
    load_checkpoint,
    load_model,
    load_values,
    save_checkpoint,
    save_model,
    save_values,
)
from pytorch.files.sealed_file import Format, read_sealed, write_sealed

FORM = Format("variance-experiments trial", version=3, oldest=2, sealed_since=3)
CONTENT = b"variance-experiments trial\nand more\n"


def test_a_sealed_content_comes_back(tmp_path):
    write_sealed(tmp_path / "file", FORM, CONTENT)
    assert read_sealed(tmp_path / "file", FORM) == (CONTENT, 3)
    text = (tmp_path / "file").read_bytes()
    assert re.fullmatch(re.escape(CONTENT) + rb"\nvariance-experiments trial, version 3, sha256 [0-9a-f]{64}\n", text)


def test_every_bit_of_a_sealed_file_counts(tmp_path):
    path = tmp_path / "file"
    write_sealed(path, FORM, CONTENT)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            _, version = read_sealed(path, FORM)
        except ValueError:
            continue
        assert version is None, bit  # the seal is no seal any more, which storage takes for a file cut off


def test_every_length_of_a_file_that_was_cut_off_is_noticed(tmp_path, pair):
    path = tmp_path / "file"
    save_values(path, pair)
    whole = path.read_bytes()
    reasons = set()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError) as info:
            load_values(path)
        reasons.add(re.search(r"\((.*)\)", str(info.value))[1])
    assert reasons == {
        "it is a file of something else",
        "it is cut off, or damaged",
        "it is cut off: its checksum is missing",
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is a file of something else"),
        (b"no pickle", "it is a file of something else"),
        (pickle.dumps({"format": "other"}), "it is a file of something else"),
        (pickle.dumps("variance-experiments values"), "it is cut off, or damaged"),
    ],
)
def test_a_foreign_file_is_named(tmp_path, content, reason):
    path = tmp_path / "file.pickle"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"file\.pickle cannot be read as a measurement \({reason}\); remove it"):
        load_values(path)


def test_files_of_another_kind_are_told_apart(tmp_path, pair, trained):
    values, model, checkpoint = (tmp_path / name for name in ("values", "model", "checkpoint"))
    save_values(values, pair)
    save_model(model, trained)
    save_checkpoint(checkpoint, {}, {})
    for load, path, kind in (
        (load_values, model, "model"),
        (load_model, checkpoint, "checkpoint"),
        (load_checkpoint, values, "values"),
    ):
        with pytest.raises(FileError, match=rf"it is a file of another kind, variance-experiments {kind}"):
            load(path)


def rewrite(path, version):
    """Write a file as another version of this program would have."""
    container = {**pickle.loads(path.read_bytes()), "version": version}
    for found in container["content"]["results"].values() if version < 5 else ():
        for name in ("not_measured", "layer_axes", "layer_axes_known", "rounding"):
            found.pop(name, None)
    content = pickle.dumps(container, protocol=5)
    if version < VALUES_FORMAT.sealed_since:
        path.write_bytes(content)
    else:
        write_sealed(path, Format(VALUES_FORMAT.name, version, version, 0), content)


def test_an_older_version_is_read_or_refused_by_name(tmp_path, pair):
    path = tmp_path / "file"
    save_values(path, pair)
    for version in (4, 3):
        rewrite(path, version)
        found = load_values(path)
        assert found.versions == pair.versions
        assert (found.any_result.rounding, found.any_result.not_measured) == (None, {})
        assert {layer.axes_known for layer in found.any_result.layers} == {"unknown"}
        assert found.any_result.unit_counts()["rounding"] == 0
    rewrite(path, 2)
    older = r"it has version 2 of its format, and .* reads 3 to 5: remove it or make it anew$"
    with pytest.raises(FileError, match=older):
        load_values(path)


def test_a_newer_version_is_refused_with_what_it_needs(tmp_path, pair):
    path = tmp_path / "file"
    save_values(path, pair)
    rewrite(path, 6)
    with pytest.raises(FileError, match=r"it has version 6 of its format, and .* reads 3 to 5: update the program$"):
        load_values(path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(FileError, match="it is no file"):
            load_values(tmp_path / name)


def test_a_file_larger_than_the_memory_is_not_read(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        try:
            file.truncate(2**43)  # takes no room on the disk
        except OSError as error:
            pytest.skip(f"this file system knows no file of that size: {error}")
    with pytest.raises(FileError, match="it has 8192 GiB, more than fits into a quarter of the memory"):
        load_model(path)


def test_a_model_of_before_seals_is_read(tmp_path, trained):
    path = tmp_path / "model"
    torch.save({"format": "variance-experiments model", "version": 2, "content": trained.to_dict()}, path)
    assert load_model(path).accuracy == trained.accuracy
