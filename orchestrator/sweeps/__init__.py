"""A sweep: what is asked for, the run directory, its lock, labels of candidates."""
