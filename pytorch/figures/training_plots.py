"""How a pair was trained, and how well it classifies."""

from matplotlib.figure import Figure

from pytorch.experiment import PAIR, UNROTATED, TrainedModel
from pytorch.figures.style import MODEL_COLOURS, TITLE_SIZE, fit


def training_figure(pair: dict[str, TrainedModel]) -> Figure:
    """Draw loss and accuracy against the epoch, both on the training samples as they were seen."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for trained_on, trained in pair.items():
            values = [getattr(epoch, quantity) for epoch in trained.history]
            axes.plot(range(1, len(values) + 1), values, color=MODEL_COLOURS[trained_on], marker="o", markersize=3,
                      label=f"{trained_on} model")  # fmt: skip
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="#EEEEEE")
        axes.legend()
    figure.axes[0].set_ylabel("training loss (nats per sample)")
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[1].set_ylabel("training accuracy")
    figure.axes[1].set_ylim(0, 1.02)
    figure.suptitle(_title(pair, figure), fontsize=TITLE_SIZE)
    return figure


def accuracy_figure(pair: dict[str, TrainedModel]) -> Figure:
    """Draw the four accuracies: both models, on upright and on rotated test data."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for index, trained_on in enumerate(PAIR):
        accuracy = pair[trained_on].accuracy
        places = [place + 0.38 * (index - 0.5) for place in range(2)]
        bars = axes.bar(places, [accuracy["upright"], accuracy["rotated"]], width=0.36, color=MODEL_COLOURS[trained_on],
                        label=f"{trained_on} model")  # fmt: skip
        axes.bar_label(bars, labels=[f"{100 * bar.get_height():.1f} %" for bar in bars], padding=2, fontsize=9)
    axes.set_xticks(range(2), ["upright test data", "rotated test data"])
    axes.set_ylim(0, 1.25)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_ylabel(f"accuracy on {pair[UNROTATED].test_samples:,} samples")
    axes.legend(loc="upper center", ncols=2, frameon=False)
    axes.set_title(_title(pair, figure), fontsize=TITLE_SIZE)
    return figure


def _title(pair: dict[str, TrainedModel], figure: Figure) -> str:
    trained = pair[UNROTATED]
    samples = f"{trained.samples:,} training samples, seed {trained.seed}"
    return f"{fit(f'{trained.model} on {trained.dataset}', figure)}\n{samples}"
