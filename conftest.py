"""Prepares the kernels of CUDA for tests: on a machine without it they are interpreted."""

import importlib.util
import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

collect_ignore = [] if importlib.util.find_spec("triton") else ["pytorch/variance/fast/kernels"]
