"""Masks that other tools predicted, read scan by scan in the axes and sizes of a data set."""
