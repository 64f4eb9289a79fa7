"""torchvision is imported as it is where it is whole, mended where its operators are missing, else reported."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pytorch.errors import ReportedError
from pytorch.torchvision_import import import_torchvision

ROOT = Path(__file__).parents[1]


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_datasets_and_models_can_be_used():
    torchvision = import_torchvision()
    assert torchvision.datasets.MNIST.__name__ == "MNIST"
    assert torchvision.models.resnet18(num_classes=2).fc.out_features == 2


def test_a_whole_torchvision_is_left_alone():
    """An import that succeeds is all that happens: nothing is declared."""
    code = (
        "import sys, types, torch; sys.modules['torchvision'] = whole = types.ModuleType('torchvision')\n"
        "torch.library.define = None\n"
        "from pytorch.torchvision_import import import_torchvision\n"
        "assert import_torchvision() is whole"
    )
    process = run(code)
    assert process.returncode == 0, process.stderr


def test_one_that_lacks_its_operators_is_mended(monkeypatch):
    """The two operators are declared, what was half imported is dropped, and the second import counts."""
    whole, declared, attempts = ModuleType("torchvision"), [], []

    def import_module(name):
        attempts.append(name)
        if len(attempts) == 1:
            raise RuntimeError("operator torchvision::nms does not exist")
        assert "torchvision.half" not in sys.modules
        return whole

    monkeypatch.setitem(sys.modules, "torchvision.half", ModuleType("torchvision.half"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr(torch.library, "define", lambda name, schema: declared.append(name))
    assert import_torchvision() is whole
    assert declared == ["torchvision::nms", "torchvision::qnms"]


def test_one_that_does_not_fit_is_reported(monkeypatch):
    def fail(name):
        raise RuntimeError("Detected that PyTorch and torchvision\nwere compiled with different CUDA major versions.")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ReportedError, match=r"install the version for this torch .Detected that PyTorch and torch"):
        import_torchvision()
