#!/usr/bin/env python3
"""Draw every result in the results folder, and put everything on one page.

    python plot_variances_models.py

Draws into <plots-dir>/<model>_<dataset>/. Each measurement gets heatmaps of every unit: over all samples, stratified,
and per class. It also gets layer means with their controls, maps of classes against layers and units, and accuracy with
variance. Measured epochs get the variance while training. Each trained pair gets its training curves and accuracies;
each data set gets all networks against depth. Also writes the tables results.csv, results.csv.gz, results.md and
results.tex, and the page index.html. The page is one file with the figures, the tables and the numbers of every unit.

Figures of unchanged results are not drawn again. The first run takes half a minute for a deep network.
"""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pytorch.errors import FileError, InputError, one_line
from pytorch.experiments.provenance import command_line
from pytorch.files.lock import sole_run
from pytorch.names import FORMATS, WIDTHS, find_name
from pytorch.scripts.options import (
    Parser,
    add_data_options,
    add_folders,
    at_least,
    check_writable,
    number_that,
    parse,
    places,
)
from pytorch.scripts.script import run, start


def _parser() -> Parser:
    parser = Parser(description=__doc__.splitlines()[0])
    add_folders(parser)
    parser.add_argument(
        "--only", nargs="+", metavar="WORD",
        help="draw only figures that match all words: models, data sets, transformations, aggregations, controls, "
        "kinds (heatmap, layers, ...), groups; commas separate alternatives, as in --only resnet,vgg16 heatmap",
    )  # fmt: skip
    parser.add_argument(
        "--format", type=_formats, default=[], metavar="{" + ",".join(FORMATS) + "}",
        help="also write figures in these formats, as pdf,svg (png is always written)",
    )  # fmt: skip
    parser.add_argument(
        "--width",
        type=number_that(lambda inches: WIDTHS[0] <= inches <= WIDTHS[1], f"in {WIDTHS[0]} to {WIDTHS[1]} inches"),
        help="width in inches of figures of measurements, except --units; 3.4 fits a column (default: as needed)",
    )
    parser.add_argument("--sort", action="store_true", help="in heatmaps, sort the units of each layer by their value")
    parser.add_argument(
        "--varying", action="store_true",
        help="in means of figures, of tables and of the page, leave out units that are constant or vary by rounding "
        "alone (default: the published definition, where constant units count as 1)",
    )  # fmt: skip
    parser.add_argument(
        "--units", metavar="LAYER", type=lambda text: text.split(","),
        help="draw the most and least invariant units of these layers, with the images that activate them most; "
        "needs the trained models and the data set",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=at_least(1), default=256, help="images per batch for --units (default: 256)"
    )
    add_data_options(parser)
    return parser


def _formats(text: str) -> list[str]:
    forms = text.lower().split(",")
    if not set(forms) <= set(FORMATS):
        raise argparse.ArgumentTypeError(f"{text!r}: the formats are {', '.join(FORMATS)}")
    return forms


if __name__ == "__main__":
    start(_parser())

from pytorch.claims import claims_tables
from pytorch.claims.trainings import uncounted
from pytorch.report.album import Album
from pytorch.report.findings import Findings, find_results
from pytorch.report.gallery import Look, Plot, plan
from pytorch.report.origin import origin_table
from pytorch.report.page import write_page
from pytorch.report.table import Table
from pytorch.report.table_files import write_tables
from pytorch.report.tables import results_tables
from pytorch.report.unit_gallery import plan_units
from pytorch.variance.result import STRATIFIED


def main(arguments: list[str] | None = None) -> int:
    """Draw what is new; return 1 if a file could not be read or a figure not drawn."""
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
    """Draw what is new, and write the tables and the page; return one line per failure."""
    look = Look(options.width, options.sort, options.varying)
    planned = plan(found, look)
    units = (
        plan_units(found, options.units, options.data_dir, options.device, options.batch_size) if options.units else []
    )
    figures = chosen([*planned, *units], options.only)
    if units and not any(figure in figures for figure in units):
        print("--only excludes the figures of --units")
    album = Album(options.plots_dir)
    drawn, failed = album.draw(figures, look, options.format, _command(options))
    stale = album.keep(planned, {digest for figure in planned for digest in figure.sources})
    pairs = [measured.pair for measured in found.measured]
    makers = {
        "claims": lambda: claims_tables(found),
        "results": lambda: results_tables(pairs, options.varying),
        "origin": lambda: [origin_table(found)],
    }
    tables = [table for what, make in makers.items() for table in _made(what, make, failed)]
    written = write_tables(options.plots_dir, [*pairs, *found.repeats], tables, command)
    page = options.plots_dir / "index.html"
    failed += write_page(page, pairs, album.figures(), tables, command, varying=options.varying)
    _report(found, len(figures), drawn, stale)
    print("\n".join(f"written: {path}" for path in (*written, page)))
    return failed


def _made(what: str, make: Callable[[], list[Table]], failed: list[str]) -> list[Table]:
    """Make tables; an odd measurement that breaks some must not stop the others."""
    try:
        return make()
    except Exception as error:
        failed.append(f"the tables of {what} cannot be made: {type(error).__name__}, {error}")
        return []


def chosen(figures: list[Plot], only: list[str] | None) -> list[Plot]:
    """Return the figures that match all given words; commas separate alternatives within a word.

    Raises:
        InputError: A word matches no figure, or no figure matches all words.
    """
    known = list(dict.fromkeys(word for figure in figures for word in figure.words))
    exact = {*known, *(figure.name for figure in figures)}
    for word in only or []:
        names = {word} if word in exact else {_match(name, known) for name in word.split(",")}
        figures = [figure for figure in figures if names & {figure.name, *figure.words}]
    if not figures:
        raise InputError(f"no figure matches all of: {' '.join(only or [])}")
    return figures


def _match(name: str, known: list[str]) -> str:
    return name if name in known else find_name(name, known, "figure of these results")


def _command(options: argparse.Namespace) -> Callable[[Plot], str]:
    """Return a function that writes the command that draws one figure."""
    given = places(options)
    if options.sort:
        given += ["--sort"]
    if options.varying:
        given += ["--varying"]
    if options.width:
        given += ["--width", f"{options.width:g}"]

    def command(figure: Plot) -> str:
        units = ["--units", figure.of["layer"]] if "layer" in figure.of else []
        return shlex.join(["python", Path(__file__).name, "--only", figure.name, *units, *given])

    return command


def _report(found: Findings, figures: int, drawn: int, stale: list[Path]) -> None:
    """Print what was done, and which results no longer fit together."""
    print(f"{figures} figure{'s' * (figures != 1)}, {drawn} of them new")
    print("".join(f"{one_line(note)}\n" for note in found.notes), end="")
    for pair in (each.pair for each in (*found.measured, *found.followed) if found.outdated(each.pair)):
        what = one_line(f"{pair.model} on {pair.dataset}, {pair.transformation}, {pair.aggregation}")
        print(f"{what}: measured before its models were replaced; run experiment_variance.py to measure the new "
              "ones")  # fmt: skip
    for pair in (measured.pair for measured in found.measured if measured.pair.control is None):
        left_out = [name for name in pair.any_result.classes if name not in pair.drawn_groups]
        why = f"no heatmap is drawn of classes of fewer than two samples: {', '.join(left_out)}"
        if STRATIFIED not in pair.any_result.summary_groups:
            why = "nothing stratified or of single classes is drawn, because no class has two samples"
        if left_out:
            print(one_line(f"{pair.model} on {pair.dataset}, {pair.transformation}, {pair.aggregation}: {why}"))
    for pair in uncounted(found):
        what = f"{pair.model} on {pair.dataset}, {pair.transformation}, {pair.aggregation}, seed {pair.training_seed}"
        print(f"{one_line(what)}: not counted in the claims, because its samples, steps, precision or training "
              "differ from those of the first seed")  # fmt: skip
    for folder, count in Counter(path.parent for path in stale).items():
        print(f"figures that match no present result, left out of the page: {count} in {folder}; without --only, those "
              "of present results are drawn again")  # fmt: skip


if __name__ == "__main__":
    run(main)
