"""From the files of results to what is read.

In reading order: ``findings`` (what is there), ``gallery`` and ``unit_gallery`` (which figures there are of it),
``album`` (those that are new are drawn), ``controls`` and ``origin`` (what stands beside a measurement, and where it
comes from), ``rows`` (every mean, computed once), ``table``, ``tables`` and ``formats`` (tables as CSV, Markdown and
LaTeX, beside what was ``published``), ``encoding`` and ``page`` (one page that holds everything).
"""
