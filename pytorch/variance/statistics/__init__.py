"""One-pass statistics of units.

In reading order: ``moments`` (mergeable means and squared deviations), ``influence`` (standard errors), ``block``
(both, for a block of units), ``anova`` (the F statistic), ``accumulator`` (for all units).
"""
