"""How (in)variant is every activation of a network to transformations of its input?

In reading order:

- ``variance``: the measure, for any ``torch.nn.Module``; start at ``variance.measure``.
- ``transformations``: what inputs are put through, rotations first.
- ``models``, ``datasets``: what the experiments measure, by name.
- ``recipes``, ``training``, ``evaluation``: from fresh weights to a trained model and its accuracies;
  ``pair_training``, ``pair_replacement``: pairs of them, taken up where they were left, and put in place together.
- ``experiment``: what the experiments keep, trained models and pairs of measurements; ``provenance``: where they come
  from; ``storage``: what lies where in the results folder.
- ``figures``: from results to pictures; ``unit_examples``: which images drive a unit; ``report``: what is found is
  planned, drawn once, put in tables and on one page.
- ``cli``: the options that the three scripts share; ``progress`` and ``summary``: what they print on the way and at
  the end.
- ``whole_file``, ``sealed_file``: how files are written and known again; ``safe_pickle``, ``safe_archive``,
  ``plain_content``, ``checked_fields``: how those from a stranger are read; ``file_lock``, ``interruption``: runs that
  meet each other, or that somebody ends.
- ``allocation``, ``errors``, ``names``, ``precision``, ``evaluation_mode``, ``torchvision_import``: small things that
  several of these need.
"""
