#!/usr/bin/env bash
# In a dynamically quantized network, what an image gives depends on the images beside it.
#
# torch 2.13.0: quantize_dynamic computes the scale of the 8-bit inputs of a Linear from the whole batch that it is
# called with, samples and all. One large sample makes the steps of all others coarser: an output of 0.996 alone
# is 0.78 beside a sample 100 times as large. Whoever measures or serves such a network in batches gets results that
# change with the batch size and with the order of the samples.
#
# Exits with 1 where that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn

linear = nn.Linear(4, 1, bias=False)
nn.init.ones_(linear.weight)
network = torch.ao.quantization.quantize_dynamic(nn.Sequential(linear), {nn.Linear}, dtype=torch.qint8)
image = torch.full((1, 4), 0.25)
alone = network(image).item()
beside = network(torch.cat([image, 100 * image]))[0].item()
print(f"torch {torch.__version__}: {alone:.4f} alone, {beside:.4f} beside a sample 100 times as large")
sys.exit(0 if abs(alone - 1) < 0.01 and abs(beside - alone) > 0.1 else 1)
PYTHON
