"""Evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module of ``model`` in evaluation mode, and each back in its own mode afterwards.

    Remembering the mode of the root alone would lose that of frozen parts (a batch normalisation kept in
    evaluation mode while the rest trains).

    >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluation_mode(model):
    ...     [module.training for module in model]
    [False, False]
    >>> [module.training for module in model]
    [True, False]
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            if module.training != training:
                module.train(training)  # some do more than to remember it
        for module, training in modes:
            module.training = training
