"""Files that are written whole, sealed, locked, and safe to read from a stranger.

Nothing here knows the measure. In reading order: ``whole_file`` (written whole or not at all), ``sealed_file`` (a
format's name, version and checksum), ``lock`` (one run at a time); ``pickle_program``, ``safe_pickle`` and
``safe_archive`` (reading that executes nothing), ``plain_content``, ``checked_fields`` and ``content`` (what was read
is what it should be).
"""
