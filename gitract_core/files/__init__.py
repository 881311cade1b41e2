"""Files: written whole or not at all, JSON with a known shape, limits of what is read."""
