"""One-pass statistics of units.

In reading order: ``moments`` (means and squared deviations that can be merged), ``influence`` (error bars), ``block``
(both, for some units), ``accumulator`` (for all of them).
"""
