"""Where a run lives when it is not a local folder: an object store, its lease, its mirror."""
