"""Recording: which activations of a network are layers, which of their axes hold channels, and reading them.

In reading order: ``layers`` (what a layer is, and its name), ``operations`` (functional operations), ``channel_axes``
(roles of axes), ``finding`` (the first forward pass), ``aggregation`` (from positions to units), ``places`` (where
units are written), ``recorder`` (all of it, as hooks on a network), ``left_as_found`` (the network afterwards).
"""
