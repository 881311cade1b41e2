"""Shapes of a phantom: the body, tissue, and the tubes of its organs."""
