"""Sealed files: whether one is foreign, of another kind or version, damaged, or cut off, is told apart."""

import os
import pickle
import re

import pytest

from pytorch.errors import FileError
from pytorch.experiments.protocol import Protocol
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
from pytorch.variance import VarianceResult

FORM = Format("variance-experiments trial", version=3)
CONTENT = b"variance-experiments trial\nand more\n"


def test_a_sealed_content_comes_back(tmp_path):
    write_sealed(tmp_path / "file", FORM, CONTENT)
    assert read_sealed(tmp_path / "file", FORM) == CONTENT
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
        with pytest.raises(ValueError, match="it is "):
            read_sealed(path, FORM)


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
    assert reasons == {"this program did not write it", "it is cut off, or very old: its checksum is missing"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "this program did not write it"),
        (b"no pickle", "this program did not write it"),
        (pickle.dumps({"format": "other"}), "this program did not write it"),
        (pickle.dumps("variance-experiments values"), "it is cut off, or very old"),
    ],
)
def test_a_foreign_file_is_named(tmp_path, content, reason):
    path = tmp_path / "file.pickle"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"file\.pickle cannot be read as a measurement \({reason}.*\); make it again"):
        load_values(path)


def test_files_of_another_kind_are_told_apart(tmp_path, pair, trained):
    values, model, checkpoint = (tmp_path / name for name in ("values", "model", "checkpoint"))
    save_values(values, pair)
    save_model(model, trained)
    save_checkpoint(checkpoint, Protocol({}), {})
    pair.any_result.save(tmp_path / "result")
    for load, path, kind in (
        (VarianceResult.load, values, "values"),
        (load_values, tmp_path / "result", "result"),
        (load_values, model, "model"),
        (load_model, checkpoint, "checkpoint"),
        (load_checkpoint, values, "values"),
    ):
        with pytest.raises(FileError, match=rf"it is a file of another kind, variance-experiments {kind}"):
            load(path)


@pytest.mark.parametrize(("version", "advice"), [(4, "make it again, or give another file"), (7, "update the program")])
def test_another_version_is_refused_with_what_to_do(tmp_path, pair, version, advice):
    path = tmp_path / "file"
    save_values(path, pair)
    content = pickle.dumps({**pickle.loads(path.read_bytes()), "version": version}, protocol=5)
    write_sealed(path, Format(VALUES_FORMAT.name, version), content)
    with pytest.raises(
        FileError, match=rf"it has version {version} of its format, and this program reads 5 to 6: {advice}$"
    ):
        load_values(path)
    write_sealed(path, VALUES_FORMAT, content)
    with pytest.raises(FileError, match="it is not what its seal says"):
        load_values(path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(FileError, match="it is not a file"):
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
