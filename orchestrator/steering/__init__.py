"""Which trials run next: racing and search."""
