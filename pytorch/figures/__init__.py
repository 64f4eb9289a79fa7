"""From results to pictures: every function takes what was found and returns a matplotlib ``Figure``.

Nothing here goes through ``pyplot``: there is no current figure, no window, and nothing to close.
"""

from pytorch.figures.heatmaps import heatmap_figure, scale_top
from pytorch.figures.layer_plots import classes_figure, layers_figure
from pytorch.figures.saving import save_figure
from pytorch.figures.training_plots import accuracy_figure, angle_figure, training_figure

__all__ = [
    "accuracy_figure",
    "angle_figure",
    "classes_figure",
    "heatmap_figure",
    "layers_figure",
    "save_figure",
    "scale_top",
    "training_figure",
]
