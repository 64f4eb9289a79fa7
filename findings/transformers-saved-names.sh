#!/usr/bin/env bash
# transformers writes weights under other names than the network has: its own files do not fit its own state dict.
#
# transformers 5.24.0: a ViTForImageClassification has "vit.layers.0.attention.k_proj.weight". save_pretrained writes
# this tensor as "vit.encoder.layer.0.attention.attention.key.weight", the name of version 4, and from_pretrained turns
# it back. So load_state_dict(load_file("model.safetensors")) misses 16 of the 24 tensors of a network of one block, even
# right after saving. Load such a file with from_pretrained, or save the state dict with safetensors itself.
#
# Exits with 1 where that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6" "transformers==5.24.0" "safetensors==0.8.0"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import sys

import transformers
from safetensors.torch import load_file

sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
network = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=16, patch_size=8))
network.save_pretrained("saved")
own, saved = set(network.state_dict()), set(load_file("saved/model.safetensors"))
again = transformers.ViTForImageClassification.from_pretrained("saved").state_dict()
same = all((again[name] == values).all() for name, values in network.state_dict().items())
print(f"transformers {transformers.__version__}: {len(own)} tensors, {len(own - saved)} saved under another name")
print(f"{min(own - saved)} as {min(saved - own)}; from_pretrained restores all: {same}")
sys.exit(0 if same and len(own - saved) == 16 else 1)
PYTHON
