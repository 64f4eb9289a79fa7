"""Files from strangers: nothing in them is executed, and none takes more memory or time than its size accounts for."""

import copyreg
import io
import os
import pickle
import random
import re
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pytorch.datasets.normalization import Normalization
from pytorch.errors import FileError, InputError
from pytorch.experiments.protocol import Protocol
from pytorch.experiments.storage import (
    CHECKPOINT_FORMAT,
    MODEL_FORMAT,
    VALUES_FORMAT,
    load_checkpoint,
    load_model,
    load_values,
    save_checkpoint,
    save_model,
    save_values,
)
from pytorch.files import safe_pickle
from pytorch.files.sealed_file import write_sealed
from pytorch.variance import VarianceResult
from pytorch.variance.result_file import RESULT_FORMAT

TRACE = os.path.join(tempfile.gettempdir(), f"a-pickle-was-executed-{os.getpid()}")


@pytest.fixture(autouse=True)
def nothing_is_executed():
    yield
    assert not Path(TRACE).exists()


def refused(path, content, reason):
    """Load a measurement whose seal is right."""
    write_sealed(path, VALUES_FORMAT, content)
    with pytest.raises(FileError, match=reason):
        load_values(path)


class Hostile:
    """Would make a file when unpickled."""

    def __reduce__(self):
        return Path.touch, (Path(TRACE),)


TEXT = TRACE.encode()
PATH = b"\x8c\x07pathlib\x8c\x04Path\x93\x8c" + bytes([len(TEXT)]) + TEXT + b"\x85R"
"""On top of the stack: the path of the trace."""

HOSTILE = {
    "as pickled": pickle.dumps(Hostile(), protocol=5),
    "as pickled of old": pickle.dumps(Hostile(), protocol=0),
    "GLOBAL": b"cos\nsystem\n(Vtouch " + TEXT + b"\ntR.",
    "INST": b"(Vtouch " + TEXT + b"\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nVtouch " + TEXT + b"\no.",
    "NEWOBJ": b"\x80\x02cpathlib\nPath\n(V" + TEXT + b"\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x07pathlib\x8c\x04Path\x93)}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(TEXT) + 6]) + b"touch " + TEXT + b"\x85R.",
    "STACK_GLOBAL of parts": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x0112\x85R.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x12_core.numeric.open\x93.",
    "BUILD": b"\x80\x04" + PATH + b"}\x8c\x0c__setstate__\x8c\x01xsb.",
    "EXT1": b"\x80\x02\x82\x01)R.",
    "EXT2": b"\x80\x02\x83\x01\x00)R.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00)R.",
    "PERSID": b"Pidentity\n.",
    "BINPERSID": b"\x80\x02X\x08\x00\x00\x00identityQ.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "a read-only buffer": b"\x80\x05\x97\x98.",
    "state of a type": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02O8\x89\x88\x87R.",
    "arrays rebuilt by numpy": pickle.dumps(np.arange(3.0), protocol=2),
    "objects in an array": pickle.dumps(np.array([Hostile()], dtype=object), protocol=5),
    "a memo of many places": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a memo of many places, as text": b"Np2147483647\n.",
    "text of many bytes": b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"x.",
    "bytes of many bytes": b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"x.",
    "a frame of many bytes": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",
    "a number of many digits": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"1" * 9 + b".",
    "a list in itself": b"\x80\x04]\x94h\x00a.",
    "lists of lists of lists": b"\x80\x04]\x94" + b"".join(b"]\x94(h%ch%ce" % (n, n) for n in range(40)) + b".",
    "a nest": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "no end": b"\x80\x04]\x94",
    "an empty stack": b"\x80\x04\x85R.",
    "no mark": b"\x80\x04]Ne.",
    "keys that cannot be": b"\x80\x04}](s.",
    "keys that collide": b"\x80\x04}(" + b"".join(
        b"\x8a\x0b" + (n * (2**61 - 1)).to_bytes(11, "little") + b"N" for n in range(20_000)) + b"u.",
    "many containers": b"\x80\x04" + b"}" * 2_000_000 + b".",
    "state of a stand-in": (
        b"\x80\x04\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93N}\x8c\x0c__defaults__\x8c\x01Z\x85s\x86b."
    ),
    "text many times": b"\x80\x04\x8c\xff" + b"x" * 255 + b"\x94](" + b"h\x00" * 500 + b"e.",
    "text that is none": b"\x80\x04\x8c\x03\xed\xa0\x80.",
    "two pickles": pickle.dumps(1, protocol=5) + pickle.dumps(Hostile(), protocol=5),
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pickles_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.setattr(copyreg, "_inverted_registry", {1: ("os", "system")})
    refused(tmp_path / "file", content, r"cannot be read as a measurement \(.+\); make it again, or give another file")
    (tmp_path / "file").write_bytes(b"variance-experiments values" + content)
    with pytest.raises(FileError):
        load_values(tmp_path / "file")
    write_sealed(tmp_path / "file", RESULT_FORMAT, content)
    with pytest.raises(FileError, match=r"cannot be read as a result \(.+\); make it again, or give another file"):
        VarianceResult.load(tmp_path / "file")
    write_sealed(tmp_path / "file", MODEL_FORMAT, with_pickle(content))
    with pytest.raises(FileError, match=r"cannot be read as a trained model \(.+\); make it again, or give"):
        load_model(tmp_path / "file")


@pytest.mark.parametrize(
    "array",
    [np.array(["a", "b"]), np.array([1, 2], dtype=object), np.zeros(2, dtype="V8,f8"), np.zeros(2, dtype=">f8")],
    ids=["text", "objects", "records", "another byte order"],
)
def test_arrays_of_other_things_than_numbers_are_refused(tmp_path, array):
    refused(tmp_path / "file", pickle.dumps(array, protocol=5), "it has an array of|it asks for|it has the instruction")


def test_a_forged_type_cannot_read_memory_as_objects(tmp_path):
    """A structured type that claims to hold objects, over bytes of the file's choice."""

    class Forged:
        def __reduce__(self):
            state = (3, "|", None, ("a",), {"a": (np.dtype("i8"), 0)}, 8, 1, 63)
            return np.dtype, ("V8", False, True), state

    class Array:
        def __reduce__(self):
            return np._core.numeric._frombuffer, (b"12345678", Forged(), (1,), "C")

    refused(tmp_path / "file", pickle.dumps(Array(), protocol=5), "it has an array of type 'V8'")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "../../elsewhere"}, "cannot be the name of a model"),
        ({"dataset": ".hidden"}, "cannot be the name of a model"),
        ({"model": "a\\b"}, "cannot be the name of a model"),
        ({"transformation": ""}, "cannot be the name of a model"),
        ({"seconds": "long"}, "its seconds: str is neither float or int"),
        ({"accuracy": [1]}, "its accuracy: list is not a dict"),
        ({"versions": {"torch": 2}}, "its versions: value of key 'torch' of dict is not an instance of str"),
        ({"results": {}}, "results of  for the control None"),
        ({"model": "m" * 61}, "it has a name of 61 letters"),
        ({"seconds": float("inf")}, "its seconds are impossible"),
        ({"training": {"unrotated": {"seed": np.zeros(1)}}}, "its training"),
        ({"accuracy": {"unrotated": {}}}, "its accuracies are impossible"),
        ({"accuracy": {"unrotated": {"upright": 2.0, "rotated": 0.0}}}, "its accuracies are impossible"),
        ({"weights": {"another": "0"}}, "it describes networks that were not measured"),
        ({"source": "a\x1b[2J\nb", "accuracy": {"x": 0}}, "cannot be read"),
        ({"surplus": 1}, "unexpected keyword argument"),
    ],
)
def test_fields_of_the_wrong_type_are_refused(tmp_path, pair, change, reason):
    container = {
        "format": VALUES_FORMAT.name,
        "version": VALUES_FORMAT.version,
        "content": {**pair.to_dict(), **change},
    }
    refused(tmp_path / "file", safe_pickle.dumps(container), reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layer_shapes": [[2**27, 0], [3]]}, "no layer has units of such a shape"),
        ({"layer_shapes": [[-1, -1], [3]]}, "no layer has units of such a shape"),
        ({"layer_names": ["x" * 301, "y"]}, "it has a name of 301 letters"),
        ({"classes": ["", "b", "c"]}, "it has a name of 0 letters"),
        ({"class_counts": np.array([1, -2, 3])}, "its numbers of samples are impossible"),
        ({"samples": "many"}, "its samples"),
        ({"not_measured": {"x" * 301: "why"}}, "it has a name of 301 letters"),
        ({"not_measured": {"x": "y" * 1001}}, "it has a name of 1001 letters"),
        ({"not_measured": {"x": 1}}, "its not_measured"),
        ({"rounding": np.array([0, 0, -1.0, 0])}, "its rounding bounds are impossible"),
        ({"rounding": np.array([0, 0, np.inf, 0])}, "its rounding bounds are impossible"),
        ({"rounding": np.full(4, np.nan)}, "its rounding bounds are impossible"),
        ({"rounding": np.zeros(3)}, "rounding has shape"),
        ({"layer_axes_known": ["known", "guessed"]}, "its axes are neither known, assumed nor given"),
        ({"layer_axes": [[1], [0]]}, "its axes are impossible"),
        ({"layer_axes": [[1]]}, "every layer needs axes"),
    ],
)
def test_results_that_cannot_be_are_refused(tmp_path, pair, change, reason):
    content = pair.to_dict()
    for found in content["results"].values():
        found.update(change)
    container = {"format": VALUES_FORMAT.name, "version": VALUES_FORMAT.version, "content": content}
    refused(tmp_path / "file", safe_pickle.dumps(container), reason)
    alone = {**container, "format": RESULT_FORMAT.name, "version": RESULT_FORMAT.version, "content": found}
    write_sealed(tmp_path / "file", RESULT_FORMAT, safe_pickle.dumps(alone))
    with pytest.raises(FileError, match=reason):
        VarianceResult.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": [], "angle_curve": None}, "it has no classes"),
        ({"history": []}, "its history is not that of its epochs"),
        ({"history": [{"loss": float("inf"), "accuracy": 0.5, "seconds": 1.0}] * 2}, "its history is impossible"),
        ({"accuracy": {}}, "its accuracies are impossible"),
        ({"classes": ["a"]}, "its accuracy against angle is of other classes"),
        ({"channels": 2}, "its normalization is of other channels"),
        ({"channels": -1}, "its normalization is of other channels"),
        ({"normalization": {"mean": [0.0], "std": [0.0]}}, "its normalization is impossible"),
        ({"trained_on": "luck"}, "it was trained on neither"),
        ({"test_samples": 0}, "it has no samples"),
    ],
)
def test_models_that_cannot_be_are_refused(tmp_path, trained, change, reason):
    path = tmp_path / "file"
    write_sealed(path, MODEL_FORMAT, saved({**trained.to_dict(), **change}))
    with pytest.raises(FileError, match=reason):
        load_model(path)


def test_a_network_is_not_built_before_its_weights_are_seen_to_fit(trained):
    """This one would take half a terabyte."""
    constants = Normalization((0.5,) * 10**6, (0.5,) * 10**6)
    with pytest.raises(InputError, match="do not fit simple_conv"):
        replace(trained, channels=10**9, normalization=constants).network()


def test_what_a_file_says_is_told_in_one_line(tmp_path):
    name = b"evil\x1b[2J\n" + b"x" * 200
    write_sealed(tmp_path / "file", VALUES_FORMAT, b"\x80\x04\x8c\x02os\x8c" + bytes([len(name)]) + name + b"\x93.")
    with pytest.raises(FileError, match=r"evil\\x1b\[2J\\nxxx.* \.\.\.\); make it again"):
        load_values(tmp_path / "file")


def archive(entries, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def entries_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def saved(content):
    buffer = io.BytesIO()
    torch.save({"format": MODEL_FORMAT.name, "version": MODEL_FORMAT.version, "content": content}, buffer)
    return buffer.getvalue()


def forged(old, new):
    """A model of one tensor whose pickle claims something else."""
    entries = entries_of(saved({"weights": {"x": torch.arange(8.0)}}))
    assert old in entries["archive/data.pkl"]
    return archive({**entries, "archive/data.pkl": entries["archive/data.pkl"].replace(old, new)})


def two_directories():
    """An archive in which Python finds small stored parts, and torch compressed ones."""
    large = {**entries_of(saved({"weights": {"x": torch.zeros(2**25)}}))}
    bomb = archive(large, zipfile.ZIP_DEFLATED)
    end = bomb.rindex(b"PK\x05\x06")
    small = archive(dict.fromkeys(large, b""))
    small_end = small.rindex(b"PK\x05\x06")
    size = int.from_bytes(small[small_end + 12 : small_end + 16], "little")
    directory = small[small_end - size : small_end]
    record = bytearray(bomb[end:])
    record[12:16] = size.to_bytes(4, "little")
    return bomb[:end] + directory + bytes(record)


def with_pickle(program):
    return archive({**entries_of(saved({})), "archive/data.pkl": program})


HOSTILE_ARCHIVES = {
    "executes": with_pickle(HOSTILE["GLOBAL"]),
    "a large array of bytes": with_pickle(b"\x80\x02cbuiltins\nbytearray\nJ\x00\x94\x35\x77\x85R."),
    "an array of bytes in a name": with_pickle(b"\x80\x02cbuiltins\nbytearray\n)R."),
    "a bomb": archive(entries_of(saved({"weights": {"x": torch.zeros(2**25)}})), zipfile.ZIP_DEFLATED),
    "two directories": two_directories(),
    "many more numbers than bytes": forged(b"K\x08tq", b"J\xff\xff\xff\x7ftq"),
    "a shape larger than its numbers": forged(b"K\x08\x85", b"J\xff\xff\xff\x7f\x85"),
    "one number for many": saved({"weights": {"x": torch.zeros(1).expand(2**40)}}),
    "sparse": saved({"weights": {"x": torch.zeros(2, 2).to_sparse()}}),
    "no tensors": saved({"weights": {1: 2}}),
    "an old pickle of torch": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    "no archive": b"PK\x03\x04 and no more",
}


def peak():
    """The most memory since the last call, in MiB."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


@pytest.mark.parametrize("content", HOSTILE_ARCHIVES.values(), ids=HOSTILE_ARCHIVES.keys())
def test_hostile_archives_are_refused(tmp_path, content):
    path = tmp_path / "file"
    write_sealed(path, MODEL_FORMAT, content)
    if os.access("/proc/self/clear_refs", os.W_OK):
        peak()
        before = peak()
    with pytest.raises(FileError, match=r"cannot be read as a trained model \(.+\); make it again, or give"):
        load_model(path)
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert peak() - before < 64 + 6 * len(content) / 2**20


def test_one_tensor_many_times_is_too_much(tmp_path):
    """It would be looked at five hundred times."""
    content = saved({"weights": dict.fromkeys(map(str, range(500)), torch.zeros(2**16))})
    write_sealed(tmp_path / "file", MODEL_FORMAT, content)
    with pytest.raises(FileError, match="its parts are too many"):
        load_model(tmp_path / "file")


def mutated(whole, generator):
    """A copy with bits flipped, bytes replaced, a part cut off, removed, doubled or moved."""
    content = bytearray(whole)
    for _ in range(generator.choice((1, 1, 2, 5))):
        first, second = sorted(generator.sample(range(len(content) + 1), 2))
        kind = generator.randrange(6)
        if kind == 0:
            content[first] ^= 1 << generator.randrange(8)
        elif kind == 1:
            content[first] = generator.choice((0, 1, 0x7F, 0x80, 0xFF, *b"(.]}c\x93Rb\x81\x82PQ"))
        elif kind == 2:
            del content[second:]
        elif kind == 3:
            del content[first : min(second, first + 8)]
        elif kind == 4:
            content[first:first] = content[first : min(second, first + 64)]
        else:
            content[first:second] = content[first:second][::-1]
        if len(content) < 2:
            break
    return bytes(content) if content != whole else mutated(whole, generator)


@pytest.mark.parametrize("kind", ["values", "result", "model", "checkpoint"])
@pytest.mark.parametrize("sealed", [False, True], ids=["as it lies", "under a new seal"])
def test_mutated_files_are_refused_or_read(tmp_path, pair, trained, kind, sealed):
    """What is mutated under a new seal reaches the reader behind it; there are 300 of each."""
    path, generator = tmp_path / "file", random.Random(f"{kind} {sealed}")
    if kind == "values":
        save_values(path, pair)
        load, form = load_values, VALUES_FORMAT
    elif kind == "result":
        pair.any_result.save(path)
        load, form = VarianceResult.load, RESULT_FORMAT
    elif kind == "model":
        save_model(path, trained)
        load, form = load_model, MODEL_FORMAT
    else:
        save_checkpoint(path, Protocol({"seed": 1}), {"weights": trained.weights, "history": [{"loss": 1.0}]})
        load, form = load_checkpoint, CHECKPOINT_FORMAT
    whole = path.read_bytes()
    content = whole[: whole.rindex(b"\n", 0, -1)]
    read, longest, reasons = 0, 0.0, []
    for _ in range(300):
        if sealed:
            write_sealed(path, form, mutated(content, generator))
        else:
            path.write_bytes(mutated(whole, generator))
        start = time.perf_counter()
        try:
            load(path)
            read += 1
        except FileError as error:
            reasons.append(str(error))
        longest = max(longest, time.perf_counter() - start)
    assert longest < 5
    assert all(reason.startswith(f"{path} cannot be read as") for reason in reasons)
    assert read == 0 or sealed  # that a seal fits by chance is not to be expected
