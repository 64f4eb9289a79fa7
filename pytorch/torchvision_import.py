"""Importing torchvision, even with a torch of another build.

A torchvision wheel built for CUDA cannot load its compiled operators with a CPU build of torch. Its import then fails
with "operator torchvision::nms does not exist". This project uses only data sets and pure Python models of torchvision,
which need none of these operators. So it declares the two operators whose signatures the import looks up.
"""

import importlib
import sys
from types import ModuleType

import torch

from pytorch.errors import ReportedError

DETECTION = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Return torchvision with its ``datasets`` and ``models``; a plain import if the builds match.

    Raises:
        ReportedError: torchvision is missing, or incompatible with this torch for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        if "torchvision::nms does not exist" not in str(error):
            reason = " ".join(str(error).split())
            raise ReportedError(f"torchvision cannot be used: install the version for this torch ({reason})") from error
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", DETECTION)
    return importlib.import_module("torchvision")
