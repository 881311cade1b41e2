"""Data sets: run-length text, images, the slice index, volumes, folds, the cache, validation."""
