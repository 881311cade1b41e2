"""Surfaces of masks in millimeters: their elements, distances between them, what is made of these.

Definitions are those of the package surface-distance (Nikolov and others, arXiv 1809.04430).
"""
