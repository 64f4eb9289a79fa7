#!/usr/bin/env python3
"""Draw every result in the results folder, and put all of it on one page.

    python plot_variances_models.py

Of each measurement, into <plots-dir>/<model>_<dataset>/: heatmaps of every unit (over all samples, stratified, and of
each class), layer means with the controls beside them, maps of classes against layers and units, accuracy beside
variance; of each trained pair its training and its accuracies; of each data set all networks against depth. Then the
tables results.csv, results.md and results.tex, and index.html: figures, tables and the numbers of every unit in one
file that opens from the disk.

Figures of unchanged results are not drawn again. The first time takes half a minute for a deep network.
"""

from pytorch.scripts.interruption import leave_when_interrupted
from pytorch.scripts.thread_waits import wait_briefly

if __name__ == "__main__":
    leave_when_interrupted()
    wait_briefly()

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pytorch.claims import claims_tables
from pytorch.claims.trainings import uncounted
from pytorch.errors import FileError, InputError, one_line
from pytorch.experiments.provenance import command_line
from pytorch.figures import FORMATS
from pytorch.files.lock import sole_run
from pytorch.names import find_name
from pytorch.report.album import Album
from pytorch.report.findings import Findings, find_results
from pytorch.report.gallery import Look, Plot, plan
from pytorch.report.origin import origin_table
from pytorch.report.page import write_page
from pytorch.report.table import Table
from pytorch.report.table_files import write_tables
from pytorch.report.tables import results_tables
from pytorch.report.unit_gallery import plan_units
from pytorch.scripts.options import (
    PLOTS_DIR,
    RESULTS_DIR,
    Parser,
    add_data_options,
    add_folders,
    at_least,
    check_writable,
    number_that,
    parse,
)
from pytorch.scripts.script import run


def main(arguments: list[str] | None = None) -> int:
    """Draw what is new; return 1 if a file could not be read."""
    options = parse(_parser(), arguments)
    found = find_results(options.results_dir)
    for error in found.errors:
        print(f"error: {one_line(error)}", file=sys.stderr)
    if not found.measured:
        raise FileError(f"no measurement in {options.results_dir / 'values'}: make one with experiment_variance.py")
    check_writable(options.plots_dir)
    with sole_run(options.plots_dir / ".lock", f"drawing into {options.plots_dir}"):
        failed = _draw(options, found, command_line(__file__, arguments))
    for error in failed:
        print(f"error: {one_line(error)}", file=sys.stderr)
    return int(bool(found.errors or failed))


def _draw(options: argparse.Namespace, found: Findings, command: str) -> list[str]:
    """Draw what is new, and write tables and page; return a line for each figure that could not be drawn."""
    look = Look(options.width, options.sort)
    planned = plan(found, look)
    units = (
        plan_units(found, options.units, options.data_dir, options.device, options.batch_size) if options.units else []
    )
    figures = chosen([*planned, *units], options.only)
    if units and not any(figure in figures for figure in units):
        print("--only leaves out the units of --units")
    album = Album(options.plots_dir)
    drawn, failed = album.draw(figures, look, options.format, _command(options))
    stale = album.keep(planned, {digest for figure in planned for digest in figure.sources})
    pairs = [measured.pair for measured in found.measured]
    makers = {
        "claims": lambda: claims_tables(found),
        "results": lambda: results_tables(pairs),
        "origin": lambda: [origin_table(found)],
    }
    tables = [table for what, make in makers.items() for table in _made(what, make, failed)]
    written = write_tables(options.plots_dir, [*pairs, *found.repeats], tables, command)
    page = options.plots_dir / "index.html"
    failed += write_page(page, pairs, album.figures(), tables, command)
    _tell(found, len(figures), drawn, stale)
    print("\n".join(f"written: {path}" for path in (*written, page)))
    return failed


def _made(what: str, make: Callable[[], list[Table]], failed: list[str]) -> list[Table]:
    """Make tables; what an odd measurement makes of some must not stop the others."""
    try:
        return make()
    except Exception as error:
        failed.append(f"tables of {what} cannot be made: {type(error).__name__}, {error}")
        return []


def chosen(figures: list[Plot], only: list[str] | None) -> list[Plot]:
    """Return the figures that every one of the given words fits; a word may name alternatives, with commas.

    Raises:
        InputError: A word fits no figure at all, or no figure fits them all.
    """
    known = list(dict.fromkeys(word for figure in figures for word in figure.words))
    exact = {*known, *(figure.name for figure in figures)}
    for word in only or []:
        names = {word} if word in exact else {_match(name, known) for name in word.split(",")}
        figures = [figure for figure in figures if names & {figure.name, *figure.words}]
    if not figures:
        raise InputError(f"no figure fits all of: {' '.join(only or [])}")
    return figures


def _match(name: str, known: list[str]) -> str:
    return name if name in known else find_name(name, known, "figure")


def _command(options: argparse.Namespace) -> Callable[[Plot], str]:
    """Return what tells the command that draws a figure, and that one alone."""
    given = []
    if options.data_dir != options.results_dir / "data":
        given += ["--data-dir", str(options.data_dir)]
    if options.sort:
        given += ["--sort"]
    if options.width:
        given += ["--width", f"{options.width:g}"]
    if options.results_dir != RESULTS_DIR.expanduser():
        given += ["--results-dir", str(options.results_dir)]
    if options.plots_dir != PLOTS_DIR:
        given += ["--plots-dir", str(options.plots_dir)]

    def command(figure: Plot) -> str:
        units = ["--units", figure.of["layer"]] if "layer" in figure.of else []
        return shlex.join(["python", Path(__file__).name, "--only", figure.name, *units, *given])

    return command


def _tell(found: Findings, figures: int, drawn: int, stale: list[Path]) -> None:
    """Say what was done, and what does not fit together any more."""
    print(f"{figures} figure{'s' * (figures != 1)}, {drawn} of them drawn anew")
    print("".join(f"{one_line(note)}\n" for note in found.notes), end="")
    for pair in (measured.pair for measured in found.measured if found.outdated(measured.pair)):
        what = one_line(f"{pair.model} on {pair.dataset}, {pair.transformation}, {pair.aggregation}")
        print(f"{what}: measured before its models were trained anew; experiment_variance.py measures those that are "
              "there")  # fmt: skip
    for pair in uncounted(found):
        what = f"{pair.model} on {pair.dataset}, {pair.transformation}, {pair.aggregation}, seed {pair.training_seed}"
        print(f"{one_line(what)}: counts in no claim, as its samples, steps, precision or training are not those of "
              "the first seed")  # fmt: skip
    for folder, count in Counter(path.parent for path in stale).items():
        print(f"figures of other results than there are now, left out of the page: {count} in {folder}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(description=__doc__.splitlines()[0])
    add_folders(parser)
    parser.add_argument(
        "--only", nargs="+", metavar="WORD",
        help="draw only figures that all these words fit: models, data sets, transformations, aggregations, controls, "
        "kinds (heatmap, layers, ...), groups; alternatives with commas, as in --only resnet,vgg16 heatmap",
    )  # fmt: skip
    parser.add_argument(
        "--format", type=_formats, default=[], metavar="{" + ",".join(FORMATS) + "}",
        help="write figures in these formats too, as pdf,svg (png is always written)",
    )  # fmt: skip
    parser.add_argument(
        "--width",
        type=number_that(lambda inches: 2 <= inches <= 60, "in 2 to 60 inches"),
        help="of figures of measurements but for units, in inches, as 3.4 for a column (default: what each needs)",
    )
    parser.add_argument("--sort", action="store_true", help="sort the units of each layer in heatmaps by their value")
    parser.add_argument(
        "--units", metavar="LAYER", type=lambda text: text.split(","),
        help="draw the most and the least invariant units of these layers, with the images that drive them most; needs "
        "the trained models and the data set",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=at_least(1), default=256, help="images at once for --units (default: 256)")
    add_data_options(parser)
    return parser


def _formats(text: str) -> list[str]:
    forms = text.lower().split(",")
    if not set(forms) <= set(FORMATS):
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(FORMATS)}")
    return forms


if __name__ == "__main__":
    run(main)
