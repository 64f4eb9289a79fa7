"""List the figures of all results: of measurements, of trained pairs, and of all networks together."""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial

from matplotlib.figure import Figure

from pytorch.experiments.storage import pair_name
from pytorch.experiments.variance_pair import VariancePair
from pytorch.figures import (
    accuracy_and_layers_figure,
    accuracy_figure,
    angle_figure,
    class_layers_figure,
    class_units_figure,
    classes_figure,
    depth_figure,
    heatmap_figure,
    layers_figure,
    pair_equivariance_figure,
    pair_scales,
    training_figure,
    while_training_figure,
)
from pytorch.figures.style import group_title, of_units
from pytorch.report.controls import before_training, equivariance_of
from pytorch.report.findings import Findings, Followed, Measured, Trained
from pytorch.variance.result import GROUP_TITLES, STRATIFIED

BIAS = (
    "NV of few samples is slightly too large. Intervals are corrected for this and means are not, so a mean may be at "
    "or above the upper edge of its interval."
)

CAPTIONS = {
    "heatmap": "Columns are layers and cells are units. Dark: the activation does not depend on the transformation (NV "
    "near 0). Bright: transforming a sample changes it as much as another sample would. Both models share one scale. "
    "The bars are layer means with 95 % intervals. The difference compares equal units or, where units are sorted, "
    f"equal ranks. {BIAS}",
    "layers": "Layer means of NV over finite units, with 95 % intervals over samples. At 1 (grey line), transforming a "
    f"sample matters as much as exchanging it. Below: TV and SV in units of the activations, and the share of units "
    f"that are constant or vary by rounding alone. {BIAS}",
    "equivariance": "Each point is a layer, at the layer means of its invariance NV (low: it does not depend on the "
    "transformation) and of its equivariance NV (left: its feature map turns with the image, so that turned back it "
    "does not change). A path leads from the first layer to the last. Layers without positions lie on the dashed "
    "diagonal. Crosses and bands are 95 % intervals. The dotted floor is the equivariance NV of the images themselves, "
    f"which interpolation alone causes. {BIAS}",
    "overview": f"Accuracy on test samples rotated by an angle, and the layer means of NV with 95 % intervals. {BIAS}",
    "while-training": "NV before training (0) and after epochs, which are equally far apart. Above: the global mean "
    "with its 95 % interval over samples. Below: the accuracy on the training samples, as measured during the epoch.",
    "class-layers": "Layer means of NV, one row per class. Where rows differ, invariance depends on the class; a class "
    "has fewer samples, so its means are less certain.",
    "classes": "Layer means of NV over the samples of one class at a time. Dashed: the mean over classes.",
    "class-units": "NV of each unit of the last layer over the samples of each class.",
    "units": "The most and the least invariant units of a layer, the images that activate each of them most, and their "
    "activation under the transformation.",
    "depth": "Layer means of NV of each network against depth, from its first layer (0 %) to its last (100 %), "
    f"with 95 % intervals. {BIAS}",
    "angles": "Accuracy on test samples rotated by an angle, for both models and for each class.",
    "accuracy": "Accuracy of both models on upright and on randomly rotated test samples.",
    "training": "Loss and accuracy on the training samples, epoch by epoch, as measured during training.",
}
"""How to read the figures of each kind, in the order of the page."""


TURNS = "rotation", "rotation-disc"
"""Transformations that turn images: for them, accuracy against the angle is comparable."""

LONGEST_LABEL = 60
"""Longest part of a file name, in characters."""


@dataclass(frozen=True)
class Look:
    """How to draw figures.

    Attributes:
        width: Width in inches; None: as each figure needs.
        sort: Whether heatmaps sort the units of each layer.
        varying: Whether means leave out units that are constant or vary only by rounding.
    """

    width: float | None = None
    sort: bool = False
    varying: bool = False


@dataclass(frozen=True)
class Plot:
    """A figure: planned, drawn, or both.

    Attributes:
        name: Path within the folder of figures, without suffix.
        kind: Key of ``CAPTIONS``; all figures of a kind show the same of different measurements.
        title: One line.
        of: Subject: some of ``model``, ``dataset``, ``transformation``, ``aggregation``, ``control``, ``group`` and
            ``layer``. A figure of all models, for example, has no ``model`` here.
        sources: Digests of the files that the figure is computed from.
        draw: Function that makes the figure; None if it is only known from the disk.
        command: Command that draws it.
        look: Digest of the options and of the code that drew it.
        files: Digest of the file in each format, by suffix.
    """

    name: str
    kind: str
    title: str
    of: dict[str, str]
    sources: tuple[str, ...]
    draw: Callable[[], Figure] | None = field(default=None, compare=False)
    command: str = ""
    look: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """Words that select the figure."""
        return [self.kind, *self.of.values()]


def plan(found: Findings, look: Look) -> list[Plot]:
    """List every figure of the results, grouped by subject."""
    figures = [figure for trained in found.trained.values() for figure in _of_training(trained)]
    for measured in found.measured:
        controls = [] if measured.pair.control else found.controls(measured.pair)
        figures.extend(_of_measurement(measured, controls, found.controlled_by(measured), look))
        figures.extend(_of_both_measures(measured.pair, found, look))
    for followed in found.followed:
        figures.extend(_of_series(followed, look))
    return [*figures, *_of_networks(found, look)]


def subject(pair: VariancePair) -> dict[str, str]:
    """Return the subject of all figures of a measurement."""
    names = ("model", "dataset", "transformation", "aggregation", "control")
    return {name: getattr(pair, name) for name in names if getattr(pair, name)}


def place(pair: VariancePair, *parts: str) -> str:
    """Return the path of a figure of a measurement in the folder of figures, without suffix."""
    name = "_".join(filter(None, (pair.transformation, pair.aggregation, pair.control, *parts)))
    return f"{pair_name(pair.model, pair.dataset)}/{name}"


def group_label(group: str, classes: list[str]) -> str:
    """Name a group in a file name: ``all``, ``stratified``, or a class with its number and safe characters.

    >>> group_label("T-shirt/top", ["T-shirt/top", "Trouser"])
    'class0_T-shirt_top'
    """
    return f"class{classes.index(group)}_{file_label(group)}" if group in classes else group


def file_label(name: str) -> str:
    """Shorten a name to safe characters for a file name.

    >>> file_label("layer1.0.relu#2"), file_label("T-shirt/top"), len(file_label("x" * 300))
    ('layer1.0.relu#2', 'T-shirt_top', 60)
    """
    label = re.sub(r"[^0-9A-Za-z.#-]+", "_", name)
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 9]}-{zlib.crc32(name.encode()):08x}"


def _of_measurement(
    measured: Measured, controls: list[Measured], scaled_as: Measured | None, look: Look
) -> Iterator[Plot]:
    """List the figures of a measurement with its controls, or of a control on the colour scale of its pair."""
    pair, result = measured.pair, measured.pair.any_result
    of, sources = subject(pair), (measured.digest,)
    coloured_by = (*sources, scaled_as.digest) if scaled_as else sources
    title = f"{pair.model} on {pair.dataset}" + (f", control {pair.control}" if pair.control else "")
    options = {"width": look.width, "varying": look.varying}
    scales = cache(partial(pair_scales, scaled_as.pair if scaled_as else pair))

    def heatmap(group: str) -> Figure:
        return heatmap_figure(pair, group, scales=scales(), sort=look.sort, **options)

    by_class = pair.control is None and STRATIFIED in result.summary_groups
    for group in pair.drawn_groups:
        called = GROUP_TITLES.get(group, f"class {group}")
        name = place(pair, "heatmap", group_label(group, result.classes))
        called = called + ", bars of units that vary" * look.varying
        yield Plot(name, "heatmap", f"{title}: {called}", {**of, "group": group}, coloured_by, partial(heatmap, group))
    sources_of_layers = sources + tuple(each.digest for each in controls)
    draw = partial(layers_figure, pair, [each.pair for each in controls], **options)
    what = of_units("layer means", look.varying)
    yield Plot(place(pair, "layers"), "layers", f"{title}: {what}", of, sources_of_layers, draw)
    if by_class:
        for kind, what, draw in (
            ("classes", of_units("layer means of each class", look.varying), partial(classes_figure, **options)),
            ("class-layers", of_units("class × layer", look.varying), partial(class_layers_figure, **options)),
            ("class-units", "class × unit of the last layer", partial(class_units_figure, width=look.width)),
        ):
            yield Plot(place(pair, kind), kind, f"{title}: {what}", of, sources, partial(draw, pair))
    if pair.transformation in TURNS and set(pair.angle_curves) == set(pair.results) and pair.control is None:
        draw, what = partial(accuracy_and_layers_figure, pair, **options), "accuracy and layer means"
        what = of_units(what, look.varying)
        yield Plot(place(pair, "overview"), "overview", f"{title}: {what}", of, sources, draw)


def _of_both_measures(pair: VariancePair, found: Findings, look: Look) -> Iterator[Plot]:
    """List the figure of invariance against equivariance, if both were measured, with the control before training."""
    turned = equivariance_of(pair, found.pairs)
    if pair.control or turned is None:
        return
    control = before_training(pair, found.pairs)
    control_turned = control and equivariance_of(control, found.pairs)
    before = (control, control_turned) if control_turned else None
    shown = [pair, turned, *(before or ())]
    sources = tuple(measured.digest for measured in found.measured if measured.pair in shown)
    draw = partial(pair_equivariance_figure, pair, turned, before, varying=look.varying, width=look.width)
    title = f"{pair.model} on {pair.dataset}: {of_units('invariance against equivariance', look.varying)}"
    yield Plot(place(pair, "equivariance"), "equivariance", title, subject(pair), sources, draw)


def _of_series(followed: Followed, look: Look) -> Iterator[Plot]:
    """List the figures of a measurement while training."""
    pair = followed.pair
    for group in pair.any_result.summary_groups:
        draw = partial(while_training_figure, followed.series, group, varying=look.varying, width=look.width)
        shown = of_units(f"NV while training, {group_title(group)}", look.varying)
        title = f"{pair.model} on {pair.dataset}: {shown}"
        of = {**subject(pair), "group": group}
        yield Plot(place(pair, "while-training", group), "while-training", title, of, (followed.digest,), draw)


def _of_training(trained: Trained) -> Iterator[Plot]:
    first = trained.pairs[0]
    model, *_ = first.values()
    of, sources = {"model": model.model, "dataset": model.dataset}, tuple(trained.digests)
    title = f"{model.model} on {model.dataset}"
    figures = {
        "training": ("training", partial(training_figure, first)),
        "accuracy": ("accuracy", partial(accuracy_figure, trained.pairs)),
        "angles": ("accuracy against angle", partial(angle_figure, trained.pairs)),
    }
    for kind, (what, draw) in figures.items():
        if kind == "angles" and any(each.angle_curve is None for pair in trained.pairs for each in pair.values()):
            continue
        yield Plot(f"{pair_name(model.model, model.dataset)}/{kind}", kind, f"{title}: {what}", of, sources, draw)


def _of_networks(found: Findings, look: Look) -> Iterator[Plot]:
    """List one figure of all networks for each data set, transformation, aggregation and kind of models."""
    together: dict[tuple, list[Measured]] = {}
    for measured in found.measured:
        pair = measured.pair
        if pair.control is None:
            same = *_shared(pair), tuple(pair.any_result.transformations)
            together.setdefault(same, []).append(measured)
    for (*shared, steps), several in together.items():
        pair = several[0].pair
        of = {"dataset": pair.dataset, "transformation": pair.transformation, "aggregation": pair.aggregation}
        ambiguous = sum(list(same[:-1]) == shared for same in together) > 1
        name = "_".join(filter(None, (*shared, f"{len(steps)}steps" if ambiguous else "", "depth")))
        draw = partial(depth_figure, [each.pair for each in several], look.width, varying=look.varying)
        sources = tuple(measured.digest for measured in several)
        title = of_units(f"networks on {pair.dataset}: NV against depth", look.varying)
        yield Plot(name, "depth", title, of, sources, draw)


def _shared(pair: VariancePair) -> tuple[str, str, str, str]:
    """Return what networks drawn together share, apart from the steps; models that are no pair are named."""
    return pair.dataset, pair.transformation, pair.aggregation, "" if pair.is_pair else "-".join(pair.results)
