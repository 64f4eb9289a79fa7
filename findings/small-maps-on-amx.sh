#!/usr/bin/env bash
# On a CPU with AMX, the gradient of the weights of a convolution of 2 × 2 maps takes far longer than a matrix product.
#
# torch 2.13.0 (oneDNN 3.12.0) runs a 3 × 3 convolution of 512 channels on 128 maps of 2 × 2, in bfloat16 and channels
# last. The last block of VGG16 has such maps on 32 × 32 images. Its weight gradient takes 2.4 times as long as its
# forward pass, which has as many operations. One product of the gradient with the windows of the input gives the same
# sums. It takes a twentieth, copying the windows included. Seen on one thread of an Intel Xeon (avx10_1_512_amx): 22 ms
# forward, 54 ms for the gradient, 2.8 ms as a product.
#
# Exits with 1 where that is no longer so, and with 2 where the processor has no AMX.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)

if not torch.cpu.get_capabilities().get("amx_bf16"):
    print("this processor has no AMX")
    sys.exit(2)


def channels_last(*shape):
    return torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)


inputs, gradient, weight = channels_last(128, 512, 2, 2), channels_last(128, 512, 2, 2), channels_last(512, 512, 3, 3)


def by_convolution():
    sizes = [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    return torch.ops.aten.convolution_backward(gradient, inputs, weight, None, *sizes, [False, True, False])[1]


def by_product():
    padded = F.pad(inputs.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3).reshape(512, 9 * 512)
    product = gradient.permute(0, 2, 3, 1).reshape(512, 512).t() @ windows
    return product.view(512, 3, 3, 512).permute(0, 3, 1, 2)


def milliseconds(work):
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken[3:])


exact, other = by_convolution().float(), by_product().float()
assert (exact - other).norm() < 1e-3 * exact.norm()
forward = milliseconds(lambda: F.conv2d(inputs, weight, padding=1))
convolution, product = milliseconds(by_convolution), milliseconds(by_product)
print(f"torch {torch.__version__}: forward {forward:.1f} ms, weight gradient {convolution:.1f} ms, "
      f"as a product {product:.1f} ms")
sys.exit(0 if convolution > 1.5 * forward and convolution > 5 * product else 1)
PYTHON
