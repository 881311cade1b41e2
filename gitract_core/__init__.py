"""The segmentation core: data, networks, losses, training and scores; no Ray, no terminal."""

__version__ = "0.1.0"
