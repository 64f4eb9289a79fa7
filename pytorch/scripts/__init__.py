"""What the scripts share: ``options``, ``script`` (errors in one line), ``interruption``, and process settings."""
