"""The experiments: pairs of models, trained, evaluated, measured, and kept.

In reading order: ``vocabulary`` (the words for models and controls), ``recipes``, ``training``, ``evaluation`` (one
model), ``pair_training`` and ``pair_replacement`` (pairs of models), ``trained_model`` and ``variance_pair`` (what is
kept), ``storage`` (where it is kept), ``provenance`` (where it comes from), ``reproduction`` (all that the paper's
tables need), ``unit_examples`` (the images that drive a unit), ``summary`` and ``progress`` (what a person reads).
"""
