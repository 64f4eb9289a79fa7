"""The experiments: train, evaluate, measure and store pairs of models.

In reading order:

- ``vocabulary``: the words for models and controls. ``protocol``: whether two experiments are the same.
- ``recipes``, ``training``, ``evaluation``: one model; ``faster_operations``, ``small_map_convolutions``: its speed.
- ``pair_training``, ``pair_replacement``: pairs of models. ``kept_epochs``: their weights after each epoch.
- ``subject``: what is measured. ``trained_model``, ``variance_pair``, ``variance_series``: the content of files,
  checked by ``content``. ``storage``: their places.
- ``provenance``: commands, machines and versions. ``published``: the values of the paper.
- ``torchrun``: several processes of one script.
- ``standing``: what is done as asked. ``reproduction``: all the steps to the paper's tables. ``standing_table``: text.
- ``unit_examples``: the images that drive a unit. ``summary``, ``progress``: terminal output.
"""
