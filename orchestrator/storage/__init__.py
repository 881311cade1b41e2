"""Where a run lives: a local folder, or an object store with its lease and its mirror here."""
