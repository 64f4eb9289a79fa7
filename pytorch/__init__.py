"""How (in)variant is every activation of a network to transformations of its input?

In reading order:

- ``variance``: the measure, for any ``torch.nn.Module``; start at ``variance.definition`` and ``variance.measure``.
- ``transformations``: what inputs are put through, rotations first.
- ``models``, ``datasets``: what the experiments measure, by name.
- ``experiments``: training, evaluating and measuring pairs of models, and keeping what comes out.
- ``files``: files written whole, and read safely from a stranger.
- ``figures``: from results to pictures. ``report``: tables, and one page. ``claims``: the paper's claims, tested.
- ``scripts``: options and the settings of a process.
- ``available_memory``, ``checked_numbers``, ``errors``, ``names``, ``progress_bar``, ``torchvision_import``: what
  several of these need.
"""

__version__ = "0.2.0"
