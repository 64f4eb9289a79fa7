"""How (in)variant is every activation of a network to transformations of its input?

In reading order:

- ``variance``: the measure, for any ``torch.nn.Module``; start at ``variance.measure``.
- ``transformations``: what inputs are put through, rotations first.
- ``models``, ``datasets``: what the experiments measure, by name.
- ``recipes``, ``training``, ``evaluation``: from fresh weights to a trained model and its accuracies;
  ``pair_training``, ``pair_replacement``: pairs of them, taken up where they were left, and put in place together.
- ``trained_model``, ``variance_pair``: what the experiments keep, in the words of ``experiment``; ``provenance``: where
  it comes from; ``storage``: what lies where in the results folder.
- ``figures``: from results to pictures; ``unit_examples``: which images drive a unit; ``report``: what is found is
  planned, drawn once, put in tables and on one page; ``claims``: what the paper says, put to what was measured;
  ``reproduction``: all the steps to its tables.
- ``cli``: the options that the scripts share; ``script``: how they run and end; ``progress`` and ``summary``: what they
  print on the way and at the end.
- ``whole_file``, ``sealed_file``: how files are written and known again; ``safe_pickle``, ``safe_archive``,
  ``pickle_program``, ``plain_content``, ``file_content``, ``checked_fields``: how those from a stranger are read;
  ``file_lock``, ``interruption``, ``thread_waits``: runs that meet each other, that somebody ends, or that share their
  cores with other programs.
- ``allocation``, ``errors``, ``names``, ``precision``, ``torchvision_import``: small things that
  several of these need.
"""
