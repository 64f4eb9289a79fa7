#!/usr/bin/env python3
"""Draw the heatmaps and the layer plots of every measurement in the results folder.

    python plot_variances_models.py

For each measurement found in <results-dir>/values, into <plots-dir>/<model>_<dataset>/: a heatmap of all samples,
one stratified by class and one of each class, the layer means of both models, and those of each class. Controls
(experiment_variance.py --control) are drawn beside the pair that they belong to, and have two heatmaps of their own.
Takes some seconds for each measurement.
"""

import argparse
import re
import sys
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from pytorch.cli import Parser, add_folders, check_writable, parse, run
from pytorch.errors import FileError
from pytorch.experiment import CONTROLS, VariancePair
from pytorch.figures import classes_figure, heatmap_figure, layers_figure, save_figure, scale_top
from pytorch.storage import load_values, pair_name, values_file, values_files


def main(arguments: list[str] | None = None) -> int:
    """Draw everything; return 1 if a file could not be read."""
    options = parse(_parser(), arguments)
    files = values_files(options.results_dir)
    if not files:
        raise FileError(f"no measurement in {options.results_dir / 'values'}: make one with experiment_variance.py")
    check_writable(options.plots_dir)
    unreadable = 0
    for file in tqdm(files, desc="drawing", unit=" measurements", disable=None):
        try:
            pair = load_values(file)
        except FileError as error:
            tqdm.write(f"error: {error}", file=sys.stderr)
            unreadable += 1
            continue
        folder = draw(pair, _controls(pair, options.results_dir), options.plots_dir)
        what = ", ".join(filter(None, (pair.transformation, pair.aggregation, pair.control)))
        tqdm.write(f"{pair.model} on {pair.dataset}, {what}: {folder}")
    return int(unreadable > 0)


def _controls(pair: VariancePair, results_dir: Path) -> list[VariancePair]:
    """Load the controls of a pair that are there; one that cannot be read is told of in its own turn."""
    if pair.control is not None:
        return []
    found = []
    for control in CONTROLS:
        place = pair.model, pair.dataset, pair.transformation, pair.aggregation, control
        with suppress(FileError, FileNotFoundError):
            found.append(load_values(values_file(results_dir, *place)))
    return [
        control
        for control in found
        if control.control and control.any_result.transformations == pair.any_result.transformations
    ]


def draw(pair: VariancePair, controls: list[VariancePair], plots_dir: Path) -> Path:
    """Draw all figures of one measurement and return their folder."""
    folder = plots_dir / pair_name(pair.model, pair.dataset)
    prefix = "_".join(filter(None, (pair.transformation, pair.aggregation, pair.control)))
    result, top = pair.any_result, scale_top(pair)
    save_figure(layers_figure(pair, controls), folder / f"{prefix}_layers.png")
    save_figure(classes_figure(pair), folder / f"{prefix}_classes.png")
    groups = result.groups if pair.control is None else result.groups[:2]
    for group in tqdm(groups, desc=f"{pair.model} {pair.dataset} {prefix}", leave=False, disable=None):
        name = f"{prefix}_heatmap_{file_label(group, result.classes)}.png"
        save_figure(heatmap_figure(pair, group, top), folder / name)
    return folder


def file_label(group: str, classes: list[str]) -> str:
    """Name a group in a file name: ``all``, ``stratified``, or a class with its number and no odd characters.

    >>> file_label("T-shirt/top", ["T-shirt/top", "Trouser"])
    'class0_T-shirt_top'
    """
    if group not in classes:
        return group
    return f"class{classes.index(group)}_{re.sub(r'[^0-9A-Za-z-]+', '_', group)}"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__.splitlines()[0])
    add_folders(parser)
    return parser


if __name__ == "__main__":
    run(main)
