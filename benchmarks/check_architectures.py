#!/usr/bin/env python3
"""Does the measure find units along the right axes, and their NV, in networks of torchvision, timm and transformers?

    pip install timm transformers e2cnn efficientnet-lite-pytorch
    PYTHONPATH=. python benchmarks/check_architectures.py --only "swin|torchvision resnet"

Networks have random weights and compute in float64. An independent method, which does not inspect modules, checks:

- **Axes.** Each network runs on images of two sizes, and is built twice if it depends on the size. (Windows and
  queries then grow in number.) Axes of an activation that grow are positions; the one that does not is the channel
  axis; an axis of length 1 may be either. If several do not grow, the layer is *undecided*, unless ``BY_HAND`` names
  its axes.
- **NV.** NumPy computes it from the table of units for all samples and transformations, which separate hooks record.
  Units that vary only by rounding errors are not compared; a layer with no others is *constant*.
- **Missed.** A module returned the tensor, with the samples first, and computed it: some values appear in none of its
  inputs or submodules' outputs. Yet the tensor is neither measured nor in ``not_measured``.

Exit status 1: a network was refused, or a layer outside ``DEBATABLE`` disagrees or was missed.
"""

import argparse
import re
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from workload import table_head

from pytorch.errors import InputError
from pytorch.torchvision_import import import_torchvision
from pytorch.transformations import rotations
from pytorch.variance import measure_variance

SAMPLES, OTHER_SAMPLES, BATCH, STEPS, CLASSES = 6, 2, 4, 3, 10
RELATIVE, NOISE = 1e-6, 1e-9  # tolerance for NV; rounding error, relative to the largest unit of a layer
WINDOW = {64: 2, 128: 8}  # by image size, so that both the length and the number of windows differ

Options = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]
"""Arguments of a builder, or a function from the image size to them."""


def each(names: str, options: Options) -> dict[str, Options]:
    """Repeat the same options for each name."""
    return dict.fromkeys(names.split(), options)


def sized(name: str = "img_size", **others: Any) -> Options:
    """Options that include the image size."""
    return lambda size: {name: size, **others}


TORCHVISION = {
    **each("""
        alexnet resnet18 resnet50 densenet121 squeezenet1_1 mobilenet_v2 mobilenet_v3_small mnasnet0_5
        shufflenet_v2_x0_5 efficientnet_b0 regnet_x_400mf regnet_y_400mf convnext_tiny swin_t swin_v2_t
    """, {}),
    **each("googlenet inception_v3", {"init_weights": False}),
    **each("segmentation.lraspp_mobilenet_v3_large segmentation.deeplabv3_mobilenet_v3_large",
           {"weights_backbone": None}),
    "VisionTransformer": sized("image_size", patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64),
    "MaxVit": lambda size: {
        "input_size": (size, size), "stem_channels": 16, "partition_size": size // 24, "block_channels": [16, 32],
        "block_layers": [1, 2], "head_dim": 8, "stochastic_depth_prob": 0.1},
}  # fmt: skip
TIMM = {
    **each("""
        convnext_atto convnext_tiny convnextv2_atto resnetv2_50 eca_nfnet_l0 res2net50_14w_8s skresnet18 resnest14d
        ecaresnet26t legacy_seresnet18 dla34 dpn48b selecsls42 hrnet_w18_small gernet_s repvgg_a0 ghostnet_100
        repghostnet_050 rexnet_100 ese_vovnet19b_dw cspresnet50 hgnetv2_b0 lcnet_050 tf_efficientnet_lite0 mixnet_s
        mobilenetv4_conv_small mambaout_femto inception_next_atto starnet_s1 efficientvit_b0 repvit_m0_9 fastvit_t8
        poolformer_s12 edgenext_xx_small mobilevit_xxs mobilevitv2_050 lambda_resnet26t gcresnet33ts pvt_v2_b0
        twins_pcpvt_small focalnet_tiny_srf shvit_s1 swiftformer_xs mvitv2_tiny caformer_s18
    """, {}),
    **each("""
        eva02_tiny_patch14_224 mixer_s32_224 resmlp_12_224 gmlp_ti16_224 efficientformerv2_s0 coat_lite_tiny convit_tiny
        levit_128s visformer_tiny pit_ti_224 gcvit_xxtiny hiera_tiny_224 coatnet_nano_rw_224 nest_tiny botnet26t_256
        vit_relpos_small_patch16_224 vitamin_small_224 volo_d1_224 crossvit_9_240 maxvit_rmlp_pico_rw_256
    """, sized()),
    **each("""
        vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 cait_xxs24_224 xcit_nano_12_p16_224 tnt_s_patch16_224
    """, sized(depth=3)),
    **each("swin_tiny_patch4_window7_224 swinv2_tiny_window8_256", lambda s: {"img_size": s, "window_size": s // 32}),
    "swinv2_cr_tiny_224": sized(depths=(2, 2, 2, 2)), "sequencer2d_s": {"layers": (1, 1, 1, 1)},
    "beit_base_patch16_224": sized(embed_dim=48, depth=2, num_heads=4),
    "twins_svt_small": lambda size: {"wss": (WINDOW[size],) * 4, "depths": (2, 2, 2, 2)},
    "davit_tiny": lambda size: {"window_size": WINDOW[size], "depths": (1, 1, 1, 1)},
    "efficientvit_m0": lambda size: {"img_size": size, "window_size": (WINDOW[size],) * 3},
    "tiny_vit_5m_224": lambda size: {"window_sizes": (WINDOW[size],) * 4},
}  # fmt: skip
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "patch_size": 8}
STAGES = {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}
PYRAMID = {"hidden_sizes": [16, 16, 32, 32], "depths": [1] * 4, "num_attention_heads": [1, 2, 2, 4]}
TRANSFORMERS = {
    **each("ConvNext ConvNextV2 PoolFormer", STAGES), **each("Pvt PvtV2", sized("image_size", **PYRAMID)),
    **each("ViT DeiT Data2VecVision Dinov2 Dinov2WithRegisters DINOv3ViTModel", sized("image_size", **TINY)),
    **each("CLIP Siglip", lambda size: {"vision_config": {"image_size": size, **TINY}}),
    **each("Swin Swinv2", lambda size: {
        "image_size": size, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": size // 16}),
    "Beit": sized("image_size", use_relative_position_bias=True, **TINY),
    "ResNet": {"embedding_size": 16, **STAGES}, "RegNet": {"embedding_size": 16, "groups_width": 8, **STAGES},
    "MobileNetV1": {"depth_multiplier": 0.25}, "MobileNetV2": {"depth_multiplier": 0.35}, "TextNet": {},
    "MobileViT": sized("image_size", hidden_sizes=[32, 40, 48], neck_hidden_sizes=[16, 16, 24, 32, 40, 48, 64]),
    "MobileViTV2": sized("image_size", width_multiplier=0.5),
    "SegformerForSemanticSegmentation": {"decoder_hidden_size": 32, **PYRAMID},
    "GLPNForDepthEstimation": {"decoder_hidden_size": 16, **PYRAMID},
    "Levit": sized("image_size", hidden_sizes=[32, 48, 64], num_attention_heads=[2, 3, 4], depths=[1] * 3,
                   key_dim=[8] * 3),
    "EfficientNet": {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    "FocalNet": sized("image_size", embed_dim=16, depths=[1] * 4),
    "Hiera": lambda size: {"image_size": [size, size], "embed_dim": 16, "depths": [1] * 4},
    "SwiftFormer": {"depths": [1, 1, 2, 1], "embed_dims": [16, 24, 32, 48]},
    "YolosForObjectDetection": lambda size: {**TINY, "image_size": [size, size], "num_detection_tokens": size // 8},
    "VitDetModel": lambda s: {
        **TINY, "image_size": s, "pretrain_image_size": s, "window_size": s // 16, "window_block_indices": [0]},
}  # fmt: skip
NETWORKS: dict[str, Options] = {
    f"{library} {name}": options
    for library, table in (("torchvision", TORCHVISION), ("timm", TIMM), ("transformers", TRANSFORMERS),
                           ("other", each("efficientnet-lite0 e2cnn", {})))
    for name, options in table.items()
}  # fmt: skip
SIZES = {
    "inception_v3": (96, 128), "levit_128s": (96, 192), "Levit": (96, 192), "crossvit_9_240": (120, 240),
    **dict.fromkeys(["twins_svt_small", "davit_tiny", "efficientvit_m0", "tiny_vit_5m_224"], tuple(WINDOW)),
}  # fmt: skip
"""Image sizes other than 64 and 96 pixels."""

BY_HAND = [
    ("alexnet|TextNet", "avgpool|pooler", (1,)),  # adaptive, (B, C, 6, 6)
    ("skresnet", r"conv\d\.attn$", (1, 2)),  # (B, branches, C, 1, 1)
    ("(?i)mobilevitv2", r"transformer\.|layernorm|stages\.\d\.1\.norm", (1,)),  # (B, C, places in a patch, patches)
    ("nest_tiny", r"levels\.\d\.transformer_encoder", (3,)),  # (B, blocks, L, D), always as many blocks
    ("efficientvit_b0|coat_lite|mvitv2", r"kernel_func|crpe\d(#\d+)?$|attn\.norm_[qkv]", (1, 3)),  # (B, heads, L, d)
]
"""Channel axes of layers that two image sizes cannot decide: network and layer (regular expressions), axes."""

DEBATABLE = [
    ("mixer", r"mlp_tokens\.(fc1|act|fc2)"),  # (B, C, L), with hidden units in the place of L
    ("resmlp", "linear_tokens"),
    ("gmlp", r"gate\.proj"),
    ("lambda_resnet", "conv_lambda"),  # Conv3d on (B, d, H, W, values): the values are not positions
]
"""Networks and layers that mix positions like channels, or have channels in the place of positions."""


def build(name: str, size: int) -> nn.Module:
    """Build a network for images of a given size."""
    torchvision = import_torchvision()  # before timm, which imports it
    import timm
    import transformers

    library, name = name.split()
    options = NETWORKS[f"{library} {name}"]
    options = options(size) if callable(options) else options
    if library == "timm":
        return timm.create_model(name, num_classes=CLASSES, **options)
    if library == "transformers":
        transformers.logging.set_verbosity_error()
        kind = getattr(transformers, name if re.search("For[A-Z]|Model$", name) else f"{name}ForImageClassification")
        return kind(kind.config_class(num_labels=CLASSES, **options))
    if library == "torchvision":
        home, _, name = name.rpartition(".")
        home = getattr(torchvision.models, home) if home else torchvision.models
        return getattr(home, name)(num_classes=CLASSES, **options)
    if name != "e2cnn":
        from efficientnet_lite_pytorch import EfficientNet

        return EfficientNet.from_name(name)
    from e2cnn import gspaces
    from e2cnn import nn as fields

    space = gspaces.Rot2dOnR2(4)
    colours, turned = (fields.FieldType(space, [kind] * 3) for kind in (space.trivial_repr, space.regular_repr))

    class Equivariant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = fields.SequentialModule(fields.R2Conv(colours, turned, 5), fields.ReLU(turned))
            self.head = nn.Linear(turned.size, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(fields.GeometricTensor(images, colours)).tensor.mean((2, 3)))

    return Equivariant()


@torch.no_grad()
def prepared(name: str, size: int, images: Tensor) -> nn.Module:
    """Build a float64 network with varying activations: no constant parameters, batch norms fitted to the images."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        model = build(name, size).eval().double()
    finally:
        torch.set_default_dtype(torch.float32)
    for parameter in model.parameters():
        if parameter.numel() and parameter.min() == parameter.max():
            parameter += 0.1 * torch.randn_like(parameter)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum, norm.eps = 1, 1e-12
    model(images)
    for norm in norms:
        norm.eval()
    return model


def tensors(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of an output, under their names in results."""
    if isinstance(output, Tensor):
        yield name, output
    elif isinstance(output, Mapping | tuple | list):
        for key, value in output.items() if isinstance(output, Mapping) else enumerate(output):
            yield from tensors(f"{name}[{key}]", value)
    elif isinstance(getattr(output, "tensor", None), Tensor):
        yield name, output.tensor


@torch.no_grad()
def listen(model: nn.Module, images: Tensor, hear: Callable[..., None]) -> None:
    """Run a model; call ``hear`` for each output with module, name, tensor, and copies of inputs and inner outputs."""
    calls: Counter[str] = Counter()
    known: list[list[Tensor]] = [[]]

    def before(module: nn.Module, inputs: Any, others: Any) -> None:
        known.append([tensor.clone() for _, tensor in tensors("", (inputs, others))])

    def after(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        calls[name] += 1
        inner = known.pop()
        for part, tensor in tensors(name if calls[name] == 1 else f"{name}#{calls[name]}", output):
            hear(module, part, tensor, inner)
            known[-1].append(tensor.clone())

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(partial(after, name or type(module).__name__)).remove)
        model(images)


def computed(tensor: Tensor, known: list[Tensor]) -> bool:
    """Whether any of sixteen values of a tensor, including its extremes, appears in no known tensor."""
    values = tensor.flatten()
    values = torch.cat([values[:: len(values) // 14 + 1], values.aminmax().min[None], values.aminmax().max[None]])
    return not all(any((other == value).any() for other in known) for value in values)


def true_axes(network: str, name: str, here: tuple[int, ...], there: tuple[int, ...]) -> tuple[int, ...] | None:
    """The channel axes longer than 1, from the shapes at both image sizes; None: undecided."""
    for networks, layers, axes in BY_HAND:
        if re.search(networks, network) and re.search(layers, name):
            return tuple(axis for axis in axes if here[axis] > 1)
    if len(here) != len(there):
        return None
    still = tuple(axis for axis in range(1, len(here)) if here[axis] == there[axis] and here[axis] > 1)
    return still if len(still) < 2 else None


def compare(table: np.ndarray, measured: np.ndarray) -> str:
    """Describe how the NV of a layer, with units (T, N, ...), disagrees; empty if it agrees."""
    if table.ndim < 2 or table[0, 0].size != measured.size:
        return f"has {measured.shape} units for {table.shape[2:]}"
    tv, sv = table.std(0, ddof=1).mean(0), table.std(1, ddof=1).mean(0)
    vary = np.minimum(tv, sv) > NOISE * np.abs(table).max()
    if not vary.any():
        return "constant"
    off = np.abs(measured.reshape(vary.shape)[vary] / (tv[vary] / sv[vary]) - 1).max()
    return "" if off <= RELATIVE else f"is off by a relative {off:.1e}"


def check(name: str) -> tuple[list[object], dict[str, list[str]]]:
    """Measure a network and check it; return the first cells of its row, and its remarkable layers."""
    size, other_size = SIZES.get(name.split()[1], (64, 96))
    coarse = torch.rand(SAMPLES, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images, others = (nn.functional.interpolate(coarse, (side, side), mode="bilinear") for side in (size, other_size))
    there: dict[str, tuple[int, ...]] = {}
    listen(prepared(name, other_size, others), others[:OTHER_SAMPLES],
           lambda _, part, tensor, __: there.update({part: tuple(tensor.shape)}))  # fmt: skip
    model = prepared(name, size, images)
    result = measure_variance(model, images, None, rotations(STEPS), batch_size=BATCH)
    layers = {layer.name: layer for layer in result.layers}
    tables: dict[str, list[np.ndarray]] = {part: [] for part in layers}
    found: dict[str, list[str]] = {what: [] for what in ("undecided", "axes", "NV", "missed", "debatable", "constant")}

    def report(what: str, part: str, text: str = "") -> None:
        doubt = any(re.search(networks, name) and re.search(of, part) for networks, of in DEBATABLE)
        found["debatable" if doubt and what in ("undecided", "axes") else what].append(f"{part} {text}")

    def hear(module: nn.Module, part: str, tensor: Tensor, known: list[Tensor]) -> None:
        shapes = tuple(tensor.shape), there.get(part, ())
        first = (*shapes[0][:1], *shapes[1][:1]) == (SAMPLES, OTHER_SAMPLES)
        text = f"{type(module).__name__} {shapes[0]}, {shapes[1]}"
        if part in layers:
            taken = tuple(axis for axis in layers[part].channel_axes if shapes[0][axis] > 1)
            true = true_axes(name, part, *shapes) if first or not shapes[1] else (0,)
            if not tables[part] and taken != true:
                what = "undecided" if true is None else "axes"
                report(what, part, f"{text}: measured {taken}" + f", should be {true}" * (true is not None))
            positions = tuple(axis for axis in range(1, tensor.ndim) if axis not in layers[part].channel_axes)
            tables[part].append(tensor.numpy().astype(np.float64).mean(positions))
        elif first and tensor.is_floating_point() and tensor.numel() and part not in result.not_measured:
            if part not in missed and computed(tensor, known):
                report("missed", part, text)
            missed.add(part)

    missed: set[str] = set()
    for transformation in rotations(STEPS):
        listen(model, transformation(images), hear)
    for part, units in result.normalized_variance().items():
        verdict = compare(np.array(tables[part]), units)
        if verdict:
            report("constant" if verdict == "constant" else "NV", part, verdict)
    reasons = Counter(re.sub(r"\([\d, ]*\)|\d+", "…", reason) for reason in result.not_measured.values())
    assumed = sum(layer.axes_known == "assumed" for layer in result.layers)
    return [len(layers), "; ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or 0, assumed], found


def checked(name: str) -> tuple[list[object], dict[str, list[str]]]:
    """Check a network, catching all errors; return its row, and its remarkable layers."""
    warnings.simplefilter("ignore")  # of other libraries
    torch.set_num_threads(1)  # with two, convolutions of single channels in float64 take 15 times as long
    start = time.monotonic()
    try:
        cells, found = check(name)
        cells += map(len, found.values())
    except Exception as error:
        text = f"{'refused' if isinstance(error, InputError) else type(error).__name__}: {error}"
        cells, found = ["-", " ".join(text.split())[:200], *"-------"], {"refused": [""]}
    return [name, *cells, f"{time.monotonic() - start:.0f}"], found


def main(arguments: list[str] | None = None) -> None:
    """Check every network and print a row for each, then list what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="regular expression for networks, as 'timm swin'")
    parser.add_argument("--lines", type=int, default=3, help="lines per network and kind in the list below the table")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    chosen = [name for name in NETWORKS if re.search(options.only, name)]
    print(table_head(["architecture", "layers", "not measured", "axis assumed", "undecided", "axes disagree",
                      "NV disagrees", "missed", "debatable", "constant", "seconds"]))  # fmt: skip
    notes: list[str] = []
    totals: defaultdict[str, int] = defaultdict(int)
    with ProcessPoolExecutor(options.processes) as pool:
        for cells, found in tqdm(pool.map(checked, chosen), total=len(chosen), leave=False, disable=None):
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            for what, lines in found.items():
                totals[what] += len(lines)
                shown = [] if what == "constant" else lines[: options.lines]
                notes += [f"- {cells[0]}: {what}: {line}" for line in shown]
                notes += [f"- {cells[0]}: {what}: and {len(lines) - len(shown)} more"] * (0 < len(shown) < len(lines))
    print("", *notes, "", f"{len(chosen)} architectures: {dict(totals)}", sep="\n")
    sys.exit(any(totals[what] for what in ("refused", "axes", "NV", "missed")))


if __name__ == "__main__":
    main()
