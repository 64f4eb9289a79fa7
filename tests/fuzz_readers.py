"""Fuzz the readers of files, guided by coverage, until a crash, a hang or too much memory is found.

    pip install atheris==3.0.0
    python tests/fuzz_readers.py folder/of/inputs -max_total_time=600

The options are libFuzzer's. The folder is begun with what the readers take; each input is put under a right seal, so
that what lies behind it is reached. A reader may return, or raise FileError; whatever else happens is a finding.
"""

import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

with atheris.instrument_imports(include=["pytorch", "pickletools"]):
    from pytorch.errors import FileError
    from pytorch.experiments import storage
    from pytorch.experiments.protocol import Protocol
    from pytorch.files.sealed_file import LONGEST_SEAL, SEAL, write_sealed
    from pytorch.variance import VarianceResult
    from pytorch.variance.result_file import RESULT_FORMAT

READERS = {
    b"v": (storage.VALUES_FORMAT, storage.load_values),
    b"r": (RESULT_FORMAT, VarianceResult.load),
    b"m": (storage.MODEL_FORMAT, storage.load_model),
    b"c": (storage.CHECKPOINT_FORMAT, storage.load_checkpoint),
}
"""By the first byte of an input."""

FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def read(data: bytes) -> None:
    """Read an input with the reader that it chooses."""
    if data[:1] not in READERS:
        return
    form, load = READERS[data[:1]]
    path = FOLDER / "file"
    write_sealed(path, form, data[1:])
    with suppress(FileError):
        load(path)


def write_first_inputs(corpus: Path) -> None:
    """Write what the readers take, small, into an empty folder."""
    import builders

    files = {letter: FOLDER / letter.decode() for letter in READERS}
    small = builders.trained_model()
    storage.save_values(files[b"v"], builders.complete_pair())
    builders.complete_pair().any_result.save(files[b"r"])
    storage.save_model(files[b"m"], replace(small, weights={"a": small.weights["conv1.bias"]}))
    storage.save_checkpoint(files[b"c"], Protocol({"seed": 1}), {"history": [{"loss": 1.0}], "weights": {}})
    corpus.mkdir(parents=True, exist_ok=True)
    for letter, file in files.items():
        content = file.read_bytes()
        seal = SEAL.search(content, len(content) - LONGEST_SEAL)
        (corpus / f"first_{letter.decode()}").write_bytes(letter + content[: seal.start()])


if __name__ == "__main__":
    write_first_inputs(Path(sys.argv[1]))
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
