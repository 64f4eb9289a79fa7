"""Importing torchvision, also beside a torch of another build.

A torchvision wheel built for CUDA next to a CPU build of torch cannot load its compiled operators, and its import
ends with "operator torchvision::nms does not exist". Nothing that this project takes from torchvision (data sets,
pure Python models) needs those operators: it is enough that the two whose signatures are asked for during the
import are declared.
"""

import importlib
import sys
from types import ModuleType

import torch

from pytorch.errors import ReportedError

DETECTION = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Return torchvision with its ``datasets`` and ``models``; where it is whole, this is an import and no more.

    Raises:
        ReportedError: torchvision is missing, or does not fit this torch for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        if "torchvision::nms does not exist" not in str(error):
            reason = " ".join(str(error).split())
            raise ReportedError(
                f"torchvision cannot be used: install the one made for this torch ({reason})"
            ) from error
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", DETECTION)
    return importlib.import_module("torchvision")
