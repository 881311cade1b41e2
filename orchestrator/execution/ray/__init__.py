"""Trials on a Ray cluster; Ray is imported in this folder alone."""
