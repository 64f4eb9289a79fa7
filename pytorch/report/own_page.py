"""One page about the user's own results: heatmaps to explore, comparisons and tables."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures import compare, compare_heatmaps, save_figure
from pytorch.figures.networks import Networks, check_networks
from pytorch.figures.style import group_title
from pytorch.report.gallery import Plot
from pytorch.report.page import write_page
from pytorch.report.table import Estimate, Row, Table, table_of_rows
from pytorch.report.tables import named_apart, slug
from pytorch.variance import VarianceResult
from pytorch.variance.result import ALL, GROUP_TITLES

COMMAND = "report(results, path)"
"""What made the page and its figures."""

CAPTION = (
    "NV = TV / SV, averaged over finite units; ± is one standard error over samples. Constant units (0/0) count as 1, "
    "and units that vary by rounding alone have a meaningless NV; means without them follow."
)


def report(
    results: Mapping[str, VarianceResult], path: str | Path, *, data: str = "own data", varying: bool = False
) -> Path:
    """Write one self-contained HTML page about any networks, as ``plot_variances_models.py`` makes of its results.

    Args:
        results: Results by name, with the same aggregation and transformations, as from ``measure_variances``.
        path: File to write.
        data: Name of the data on the page.
        varying: Whether means leave out units that are constant or vary only by rounding.

    Returns:
        ``path``.

    Raises:
        InputError: The results cannot be compared.
        FileError: The page cannot be written.
    """
    networks = check_networks(results, ALL)
    pairs = [
        VariancePair.of_results({name: result}, model=_file_label(name), dataset=_file_label(data))
        for name, result in networks
    ]
    with TemporaryDirectory() as folder:
        plots = [
            _drawn(Path(folder), f"{kind}-{group}", kind, f"{title}, {group_title(group)}", partial(
                draw, results, group, varying=varying))
            for kind, title, draw in (
                ("depth", "Layer means and global means", compare), ("heatmap", "Every unit", compare_heatmaps)
            )
            for group in _common_groups(networks)
        ]  # fmt: skip
        tables = named_apart([_global_means(networks), *(_layer_means(name, result) for name, result in networks)])
        write_page(Path(path), pairs, plots, tables, COMMAND, varying=varying, folder=Path(folder))
    return Path(path)


def _file_label(name: str) -> str:
    """Replace what a name of a measurement must not contain."""
    return re.sub(r"[/\\\0]|^\.", "_", name) or "_"


def _common_groups(networks: Networks) -> list[str]:
    return [group for group in GROUP_TITLES if all(group in result.summary_groups for _, result in networks)]


def _drawn(folder: Path, name: str, kind: str, title: str, draw: partial) -> Plot:
    save_figure(draw(), folder / f"{name}.png")
    return Plot(name, kind, title, of={}, sources=(), command=f"{draw.func.__name__}(results, {draw.args[1]!r})")


def _global_means(networks: Networks) -> Table:
    rows: list[Row] = []
    for name, result in networks:
        for group in result.summary_groups:
            counts = result.unit_counts(group)
            rows.append({
                "network": name, "measure": GROUP_TITLES[group], "NV": _global(result, group),
                "samples": result.sample_count(group), "layers": len(result.layer_names), "units": counts["units"],
                "constant": counts["constant"], "rounding": counts["rounding"],
                "without them": _global(result, group, varying=True),
            })  # fmt: skip
    return table_of_rows("networks", "Global mean of the normalized variance", CAPTION, rows)


def _layer_means(name: str, result: VarianceResult) -> Table:
    constant, rounding = result.constant_units(ALL), result.rounding_units(ALL)
    rows: list[Row] = []
    for layer, units in result.normalized_variance(ALL).items():
        row: Row = {"layer": layer, "units": units.size, "constant": int(constant[layer].sum()),
                    "rounding": int(rounding[layer].sum())}  # fmt: skip
        for group in result.summary_groups:
            for varying, suffix in ((False, ""), (True, ", without them")):
                mean, error = (
                    found(group, varying=varying)[layer] for found in (result.layer_means, result.layer_errors)
                )
                row[GROUP_TITLES[group] + suffix] = Estimate(mean, error)
        rows.append(row)
    return table_of_rows(slug("layers", name), f"Layer means of the normalized variance: {name}", CAPTION, rows)


def _global(result: VarianceResult, group: str, *, varying: bool = False) -> Estimate:
    return Estimate(result.global_mean(group, varying=varying), result.global_error(group, varying=varying))
