"""From results to pictures: every function takes results and returns a matplotlib ``Figure``.

Nothing here uses ``pyplot``: there is no current figure, no window, and nothing to close.
"""

from pytorch.figures.cells import pair_scales
from pytorch.figures.class_maps import class_layers_figure, class_units_figure
from pytorch.figures.comparisons import accuracy_and_layers_figure, depth_figure
from pytorch.figures.equivariance import equivariance_figure, pair_equivariance_figure
from pytorch.figures.heatmaps import compare_heatmaps, heatmap_figure
from pytorch.figures.layer_plots import classes_figure, layers_figure
from pytorch.figures.networks import compare
from pytorch.figures.saving import save_figure
from pytorch.figures.series import series_figure, while_training_figure
from pytorch.figures.training_plots import accuracy_figure, angle_figure, training_figure
from pytorch.figures.unit_plots import units_figure

__all__ = [
    "accuracy_and_layers_figure",
    "accuracy_figure",
    "angle_figure",
    "class_layers_figure",
    "class_units_figure",
    "classes_figure",
    "compare",
    "compare_heatmaps",
    "depth_figure",
    "equivariance_figure",
    "heatmap_figure",
    "layers_figure",
    "pair_equivariance_figure",
    "pair_scales",
    "save_figure",
    "series_figure",
    "training_figure",
    "units_figure",
    "while_training_figure",
]
