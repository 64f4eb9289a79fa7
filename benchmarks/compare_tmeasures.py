#!/usr/bin/env python3
"""Compare the measure with tmeasures, on the same model, images and transformations.

    pip install tmeasures==1.2.11 statsmodels
    PYTHONPATH=. python benchmarks/compare_tmeasures.py

tmeasures computes the plain measure of every activation without aggregation, with one pass for TV and one for SV. Our
measure computes groups, ratio and error bars too, in a single pass. tmeasures gets our rotations, because its own
confuse degrees and radians. A row has the ratio of the times (median, lowest and highest of the rounds) and the largest
relative difference of TV and SV. The difference is given twice: for the timed batches, and for batches of one image.
For TV, a batch of tmeasures has the transformations of one sample, and ours has samples. The rounding of a convolution
depends on the batch; with batches of one image, both tools see bitwise equal activations.
"""

import argparse
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from workload import DEFAULT_MODELS, Workload, ratio, rounds, table_head

from pytorch.models import MODELS
from pytorch.scripts.allocation import keep_freed_memory
from pytorch.variance.recording.layers import leaf_modules


def main(arguments: list[str] | None = None) -> None:
    """Time each model and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=DEFAULT_MODELS)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one warm-up round")
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args(arguments)
    try:
        import tmeasures  # noqa: F401
    except ImportError as error:
        print(f"tmeasures cannot be imported ({error}): skipped")
        return
    keep_freed_memory()
    dtype = torch.float64 if options.float64 else torch.float32
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.samples} samples x {options.steps} "
          f"rotations, batches of {options.batch_size}, {dtype}, {options.rounds} rounds")  # fmt: skip
    columns = ["model", "mean: tmeasures / ours", "none", "none, without labels", "TV, SV differ by", "one by one"]
    print(table_head(columns))
    for name in options.models:
        work = Workload.build(name, options.samples, options.batch_size, options.steps, dtype=dtype)
        theirs = Theirs(copy(work), dtype)
        works = {
            "theirs": theirs.measure,
            "mean": lambda work=work: work.measure(),
            "none": lambda work=work: work.measure(aggregation="none"),
            "plain": lambda work=work: replace(work, labels=None).measure(aggregation="none"),
        }
        seconds = rounds(works, options.rounds)
        ratios = [ratio(seconds, "theirs", ours) for ours in ("mean", "none", "plain")]
        differences = [difference(replace(work, batch_size=size), dtype) for size in (options.batch_size, 1)]
        cells = [name, *ratios, *(f"{largest:.1e}" for largest in differences)]
        print(f"| {' | '.join(cells)} |", flush=True)


def copy(work: Workload) -> Workload:
    """Copy a workload and its network, on which hooks will stay."""
    return replace(work, model=deepcopy(work.model))


class Theirs:
    """The same work for tmeasures.

    Args:
        work: What to measure.
        dtype: Type of the images.
    """

    def __init__(self, work: Workload, dtype: torch.dtype) -> None:
        from tmeasures import TransformationSet
        from tmeasures import pytorch as tm

        class Images(torch.utils.data.Dataset):
            def __len__(self) -> int:
                return len(work.images)

            def __getitem__(self, index: int) -> torch.Tensor:
                return work.images[index]

        class Recorded(tm.ActivationsModule):
            """Our network in the form that tmeasures expects: with the activations of its leaf modules."""

            def __init__(self) -> None:
                super().__init__()
                self.found: list[torch.Tensor] = []
                self.named = list(leaf_modules(work.model))
                for _, module in self.named:
                    module.register_forward_hook(lambda module, inputs, output: self.found.append(output))

            def activation_names(self) -> list[str]:
                return [name for name, _ in self.named]

            def forward_activations(self, inputs: torch.Tensor) -> list[torch.Tensor]:
                self.found.clear()
                work.model(inputs.contiguous(memory_format=torch.channels_last))
                return list(self.found)

        def turned(turn: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
            return lambda image: work.normalization(turn(image.unsqueeze(0).to(dtype))).squeeze(0)

        self._images, self._recorded = Images(), Recorded()
        self._turns = TransformationSet([turned(turn) for turn in work.transformations])
        self._options = tm.PyTorchMeasureOptions(batch_size=work.batch_size, verbose=False)
        self._measures = tm.TransformationVarianceInvariance(), tm.SampleVarianceInvariance()

    def measure(self) -> list[dict[str, np.ndarray]]:
        """TV and SV, each with the values of every leaf module by name."""
        with torch.no_grad():
            results = [
                measure.eval(self._images, self._turns, self._recorded, self._options) for measure in self._measures
            ]
        names = self._recorded.activation_names()
        return [
            {name: layer.cpu().numpy() for name, layer in zip(names, result.layers, strict=True)} for result in results
        ]


def difference(work: Workload, dtype: torch.dtype) -> float:
    """Largest difference of TV and of SV of a unit between the two tools, relative to the larger of the two.

    Ignores units below 1e-5 of the layer's largest value: rounding decides those. Compares the layers of ours, which
    leaves out copies of others.
    """
    theirs = Theirs(copy(work), dtype).measure()
    ours = work.measure(aggregation="none")
    largest = 0.0
    for found, expected in zip(theirs, (ours.transformation_variance(), ours.sample_variance()), strict=True):
        for name, values in expected.items():
            layer = found[name]
            scale = np.maximum(np.abs(layer), np.abs(values))
            clear = scale > 1e-5 * scale.max()
            if clear.any():
                largest = max(largest, float((np.abs(layer - values)[clear] / scale[clear]).max()))
    return largest


if __name__ == "__main__":
    main()
