"""Training and accuracy of a pair of models."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pytorch.errors import InputError
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.vocabulary import PAIR, UNROTATED
from pytorch.figures.arguments import check_trained_pair, check_trained_pairs
from pytorch.figures.style import MODEL_COLOURS, TITLE_SIZE, class_colour, class_label, class_legend, fit


def training_figure(pair: dict[str, TrainedModel]) -> Figure:
    """Draw loss and accuracy on the training samples, epoch by epoch, as measured during training.

    Raises:
        InputError: ``pair`` is no trained pair.
    """
    check_trained_pair(pair)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for trained_on, trained in pair.items():
            values = [getattr(epoch, quantity) for epoch in trained.history]
            axes.plot(range(1, len(values) + 1), values, color=MODEL_COLOURS[trained_on], marker="o", markersize=3,
                      label=f"{trained_on} model")  # fmt: skip
        longest = max(len(trained.history) for trained in pair.values())
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, longest + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="#EEEEEE")
        axes.legend()
    figure.axes[0].set_ylabel("training loss (nats per sample)")
    highest = max(epoch.loss for trained in pair.values() for epoch in trained.history)
    figure.axes[0].set_ylim(0, 1.08 * highest or 1)  # with a single class the loss is 0
    figure.axes[1].set_ylabel("training accuracy")
    _percent_axis(figure.axes[1], 1.04)
    figure.suptitle(_title(pair, figure), fontsize=TITLE_SIZE)
    return figure


def accuracy_figure(pairs: list[dict[str, TrainedModel]]) -> Figure:
    """Draw the four accuracies: both models, on upright and on rotated test data.

    Args:
        pairs: Pairs of one model and data set. For several, the mean has whiskers of one standard deviation.

    Raises:
        InputError: They are no trained pairs, or not of the same classes.
    """
    check_trained_pairs(pairs)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for index, trained_on in enumerate(PAIR):
        found = np.array([[pair[trained_on].accuracy[data] for data in ("upright", "rotated")] for pair in pairs])
        places = [place + 0.38 * (index - 0.5) for place in range(2)]
        bars = axes.bar(places, found.mean(axis=0), width=0.36, color=MODEL_COLOURS[trained_on],
                        yerr=found.std(axis=0, ddof=1) if len(pairs) > 1 else None, capsize=4,
                        label=f"{trained_on} model")  # fmt: skip
        axes.bar_label(bars, labels=[f"{100 * bar.get_height():.1f} %" for bar in bars], padding=2, fontsize=9)
    axes.set_xticks(range(2), ["upright test data", "rotated test data"])
    _percent_axis(axes, 1.25)
    axes.set_ylabel(f"accuracy on {pairs[0][UNROTATED].test_samples:,} samples")
    axes.legend(loc="upper center", ncols=2, frameon=False)
    axes.set_title(_title(pairs[0], figure, len(pairs)), fontsize=TITLE_SIZE)
    return figure


def angle_figure(pairs: list[dict[str, TrainedModel]]) -> Figure:
    """Draw accuracy against the angle of the test data, for both models and for each class.

    Args:
        pairs: Pairs of one model and data set. For several, the mean has a band of one standard deviation.

    Raises:
        InputError: They are no trained pairs, not of the same classes, or were not evaluated at the same angles.
    """
    check_trained_pairs(pairs)
    angles = [trained.angle_curve and trained.angle_curve.degrees for pair in pairs for trained in pair.values()]
    if None in angles or any(each != angles[0] for each in angles):
        raise InputError("the accuracy against the angle is not known of all models, or not at the same angles")
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    both, *by_class = figure.subplots(1, 3, sharey=True)
    for axes, trained_on in zip(by_class, PAIR, strict=True):
        curves = [pair[trained_on].angle_curve for pair in pairs]
        degrees, accuracy = curves[0].degrees, np.array([curve.accuracy for curve in curves])
        mean, spread = accuracy.mean(axis=0), accuracy.std(axis=0, ddof=1) if len(pairs) > 1 else 0
        both.plot(degrees, mean, color=MODEL_COLOURS[trained_on], marker="o", markersize=3, label=f"{trained_on} model")
        both.fill_between(degrees, mean - spread, mean + spread, color=MODEL_COLOURS[trained_on], alpha=0.25, lw=0)
        of_classes = np.mean([curve.class_accuracy for curve in curves], axis=0)
        classes = pairs[0][trained_on].classes
        for index, (name, line) in enumerate(zip(classes, of_classes.T, strict=True)):
            axes.plot(degrees, line, color=class_colour(index, len(classes)), lw=1, label=class_label(name))
        axes.plot(degrees, mean, "k--", label="all")
        means = ", means" if len(pairs) > 1 else ""
        axes.set_title(f"{trained_on} model, by class{means}", fontsize=10)
    for axes in (both, *by_class):
        axes.set_xticks(range(-180, 181, 90))
        axes.set_xlabel("turn of the test data (degrees)")
        axes.grid(color="#EEEEEE")
    _percent_axis(both, 1.02)
    both.set_ylim(bottom=-0.02)
    both.set_ylabel(f"accuracy on {pairs[0][UNROTATED].test_samples:,} samples")
    both.set_title("all classes", fontsize=10)
    both.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8, frameon=False)
    class_legend(by_class[1], len(classes))
    figure.suptitle(_title(pairs[0], figure, len(pairs)), fontsize=TITLE_SIZE)
    return figure


def _percent_axis(axes: Axes, top: float) -> None:
    axes.set_ylim(0, top)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])


def _title(pair: dict[str, TrainedModel], figure: Figure, pairs: int = 1) -> str:
    trained = pair[UNROTATED]
    seeds = f"seed {trained.seed}" if pairs == 1 else f"mean ± sd of {pairs} seeds"
    samples = f"{trained.samples:,} training samples, {seeds}"
    return f"{fit(f'{trained.model} on {trained.dataset}', figure)}\n{samples}"
