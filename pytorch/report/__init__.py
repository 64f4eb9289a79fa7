"""Tables, figures and one page from the files of results.

In reading order: ``findings`` reads the files. ``gallery`` and ``unit_gallery`` list their figures, and ``album`` draws
those that are new. ``controls`` and ``origin`` find the controls of a measurement and where it comes from. ``rows``
computes every mean once. ``table``, ``tables``, ``formats`` and ``table_files`` write tables. ``encoding`` and
``page`` put everything on one page. ``own_page`` makes one of the user's own results.
"""

from pytorch.report.own_page import report

__all__ = ["report"]
