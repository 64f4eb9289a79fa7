"""One self-contained HTML page with everything: heatmaps to explore, tables, and figures."""

import base64
import html
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image

from pytorch.errors import FileError
from pytorch.experiments.summary import samples_used
from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures.cells import MARKS
from pytorch.figures.saving import COLOURS
from pytorch.figures.style import CONTROL_TITLES, DIFFERENCE_COLOURS, SCALE_COLOURS, of_units
from pytorch.files.whole_file import whole_file
from pytorch.names import EQUIVARIANCE
from pytorch.report.controls import controls_of
from pytorch.report.encoding import embedded, omission
from pytorch.report.formats import cell_text, is_right_aligned
from pytorch.report.gallery import CAPTIONS, Plot, subject
from pytorch.report.table import Cell, Estimate, Table

PARTS = Path(__file__).with_name("page")
SCRIPTS = "units.js", "panel.js", "heatmap.js", "pointer.js", "page.js"
"""Each uses only those before it."""

WIDEST = 1100
"""Largest width of an embedded figure, in pixels."""

FIELDS = "model", "dataset", "transformation", "aggregation"
"""Fields that distinguish measurements, apart from controls."""

LONG = 40
"""Length, in characters, from which a table breaks a text into lines."""

NOT_MEASURED = "not measured"

TURNED_BACK = (
    " Under same-equivariance, feature maps are turned back first: NV is near 0 where a map turns with the image."
)
"""What captions add to figures of equivariance."""

PAIRS = (
    "Models come in pairs: one trained on upright samples, one on rotated samples. Other networks are shown beside "
    "themselves with random weights."
)
"""What the scripts measure; pages of the user's own results show other networks."""

COUNTED = {
    False: "count as 1 by definition",
    True: "have an NV of 1 by definition; means on this page leave them out, and those of rounding alone (--varying)",
}
"""What means make of constant units."""


def write_page(
    path: Path,
    pairs: Sequence[VariancePair],
    plots: Sequence[Plot],
    tables: Sequence[Table],
    command: str,
    *,
    varying: bool = False,
    folder: Path | None = None,
) -> list[str]:
    """Write the page, whole or not at all.

    Args:
        path: HTML file.
        pairs: Measurements and controls. A control is omitted if a pair of other weights or transformations was
            measured in its place.
        plots: Figures; the page omits heatmaps that it draws itself.
        tables: Tables in the order of the page.
        command: Command that makes the page.
        varying: Whether means leave out units that are constant or vary only by rounding.
        folder: Folder of the figures; None: that of ``path``.

    Returns:
        One line for each figure that is omitted because it cannot be read.

    Raises:
        FileError: The page cannot be written.
    """
    together = _together(pairs)
    explored = [subject(pair) for parts in together for pair in parts if not omission(pair)]
    figures = [each for each in plots if each.kind != "heatmap" or _without_group(each) not in explored]
    pictures, errors = [], []
    for figure in figures:
        try:
            pictures.append(_figure(folder or path.parent, figure))
        except FileError as error:
            errors.append(str(error))
    measurements = _measurements(together, figures, varying)
    data = {"measurements": measurements, "figures": pictures, "varying": varying, **_look()}
    content = Template(_part("page.html")).substitute(
        css=_part("page.css"),
        script="\n".join(_part(name) for name in SCRIPTS),
        data=_script_json(data),
        counted=COUNTED[varying],
        shown="" if folder else PAIRS,
        extremes=of_units("Most and least invariant layers", varying),
        tables="\n".join(_table(table, is_open=table is tables[0]) for table in tables) or "<p>There are none.</p>",
        command=html.escape(command),
    )
    with whole_file(path) as file:
        file.write(content.encode("utf-8", errors="replace"))
    return errors


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _script_json(data: Any) -> str:
    r"""Write data for a script element, which no text in it can end.

    >>> _script_json("</script>")
    '"\\u003c/script>"'
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _look() -> dict[str, Any]:
    """Colours and titles of the figures, which the page shares."""
    maps = {"scale": SCALE_COLOURS, "difference": DIFFERENCE_COLOURS}
    tables = {name: [to_hex(colour) for colour in colormaps[which](range(256))] for name, which in maps.items()}
    return {"colours": {**tables, "marks": MARKS}, "controls": CONTROL_TITLES}


def _measurements(
    together: Sequence[list[VariancePair]], figures: Iterable[Plot], varying: bool
) -> list[dict[str, Any]]:
    """Embed each pair with its controls, and list models that have figures but no measurement."""
    measurements = [
        {
            **{name: getattr(parts[0], name) for name in FIELDS},
            "parts": [_embedded_part(each, varying) for each in parts],
        }
        for parts in together
    ]
    measured = {(parts[0].model, parts[0].dataset) for parts in together}
    drawn = dict.fromkeys((figure.of.get("model"), figure.of.get("dataset")) for figure in figures)
    unmeasured = [key for key in drawn if all(key) and key not in measured]
    return measurements + [
        {**dict(zip(FIELDS, (*key, NOT_MEASURED, NOT_MEASURED), strict=True)), "parts": []} for key in unmeasured
    ]


def _together(pairs: Sequence[VariancePair]) -> list[list[VariancePair]]:
    """Put each pair before its own controls; a control without a pair is on its own."""
    groups = [[pair, *controls_of(pair, pairs).values()] for pair in pairs if pair.control is None]
    places = [[getattr(parts[0], field) for field in FIELDS] for parts in groups]
    for control in pairs:
        place = [getattr(control, field) for field in FIELDS]
        if control.control and place not in places:
            groups.append([control])
            places.append(place)
    return groups


def _embedded_part(pair: VariancePair, varying: bool) -> dict[str, Any]:
    return {**embedded(pair, varying=varying), "provenance": _provenance(pair)}


def _provenance(pair: VariancePair) -> list[list[str]]:
    """Where a measurement comes from, as pairs of a heading and a text."""
    result = pair.any_result
    rows = {
        "control": pair.control or "",
        "command": pair.command,
        "machine": pair.machine,
        "date": pair.date,
        "seconds": f"{pair.seconds:.1f}" if pair.seconds else "",
        "versions": _list(pair.versions),
        "data": Path(pair.source).name,  # the full path means nothing on another machine
        "samples": samples_used(pair),
        "seed of the samples": str(pair.seed) if pair.command else "",
        "transformations": f"{len(result.transformations)}: {', '.join(result.transformations)}",
        "aggregation": pair.aggregation,
        "dispersion": result.dispersion,
        "precision": result.precision,
        "never called": ", ".join(result.never_called),
    }
    for name in pair.results:
        title = pair.title(name)
        rows |= {
            f"{title}, training": _list(pair.training.get(name, {})),
            f"{title}, digest of its weights": pair.weights.get(name, ""),
            f"{title}, accuracy": _list({k: f"{v:.2%}" for k, v in pair.accuracy.get(name, {}).items()}),
        }
    return [[head, text] for head, text in rows.items() if text]


def _list(named: dict[str, Any]) -> str:
    """Write named values in one line.

    >>> _list({"torch": "2.13.0", "classes": ["a", "b"]})
    'torch 2.13.0; classes a, b'
    """
    texts = {name: ", ".join(map(str, v)) if isinstance(v, list | tuple) else v for name, v in named.items()}
    return "; ".join(f"{name} {text}" for name, text in texts.items() if text not in (None, ""))


def _without_group(figure: Plot) -> dict[str, str]:
    return {name: text for name, text in figure.of.items() if name != "group"}


def _figure(folder: Path, figure: Plot) -> dict[str, Any]:
    image, width, height = _small_png(folder / f"{figure.name}.png")
    caption = CAPTIONS[figure.kind] + TURNED_BACK * (figure.of.get("aggregation") == EQUIVARIANCE)
    texts = {"title": figure.title, "caption": caption, "command": figure.command, "of": figure.of}
    return {**texts, "image": image, "width": width, "height": height}


def _small_png(path: Path) -> tuple[str, int, int]:
    """Return a figure as a small PNG in base64, with its width and height.

    Raises:
        FileError: The figure cannot be read.
    """
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            image, small = opened.convert("RGBA"), opened.mode == "P" and opened.width <= WIDEST
        if small:
            return base64.b64encode(path.read_bytes()).decode("ascii"), image.width, image.height
    except Exception as error:  # decoders raise anything when a file is damaged
        raise FileError(f"{path} cannot be read as a figure ({error}); draw it again") from error
    paper = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(paper, image).convert("RGB")
    if image.width > WIDEST:
        height = max(1, round(image.height * WIDEST / image.width))
        image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
    few = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode("ascii"), image.width, image.height


def _table(table: Table, is_open: bool) -> str:
    """Write a table as HTML; each cell carries the number that sorts it."""
    title, name = html.escape(table.title), html.escape(table.name)
    heads = "".join(_head(table, column) for column in range(len(table.columns)))
    rows = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        f'<section class="table" id="table-{name}">\n<details{" open" * is_open}>\n'
        f"<summary><h3>{title}</h3></summary>\n<p>{html.escape(table.caption)}</p>\n"
        f'<div class="scroll" role="region" aria-label="{title}" tabindex="0">\n'
        f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
        f'<p class="shown" role="status"></p>\n</details>\n</section>'
    )


def _head(table: Table, column: int) -> str:
    """Write a head, aligned as its column."""
    attributes = ' class="number"' if is_right_aligned(table, column) else ""
    return f'<th scope="col"{attributes}><button type="button">{html.escape(table.columns[column])}</button></th>'


def _cell(cell: Cell) -> str:
    if cell is None:
        return "<td></td>"
    if isinstance(cell, str):
        percentage = re.fullmatch(r"([\d.]+) %", cell)
        attributes = ' class="text"' if len(cell) > LONG else ""
        attributes = f' class="number" data-value="{percentage[1]}"' if percentage else attributes
        return f"<td{attributes}>{html.escape(cell)}</td>"
    value = float(cell.value if isinstance(cell, Estimate) else cell)
    sort_by = "" if math.isnan(value) else f' data-value="{value!r}"'.replace("inf", "Infinity")
    return f'<td class="number"{sort_by}>{html.escape(cell_text(cell))}</td>'
