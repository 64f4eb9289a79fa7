"""Files that are written whole, sealed, locked, and safe to read from a stranger.

Nothing here knows the measure. In reading order:

- ``whole_file``: a file is written whole or not at all.
- ``sealed_file``: each file carries the name and version of its format, and a checksum.
- ``lock``: one run at a time.
- ``plain_content``: the rules for untrusted pickles and for what comes out of them.
- ``safe_pickle``, ``safe_archive``: readers that execute nothing.
- ``checked_fields``: each field has the annotated type, and names have a sensible length.
- ``container``: one object, written and read by all of the above.
"""
