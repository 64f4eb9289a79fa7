"""Recording: which activations of a network are layers, which of their axes hold channels, and reading them.

In reading order: ``layers`` (what a layer is, and its name), ``operations`` (functional operations), ``roles`` (what
operations do to axes), ``channel_axes`` (axes followed through a forward pass), ``aggregation`` (from positions to
units), ``places`` (where units are written), ``finding`` (the first forward pass), ``recorder`` (all of it, as hooks
on a network), ``left_as_found`` (the network afterwards).
"""
