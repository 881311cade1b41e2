"""Running trials: the executor protocol, and what happens when memory runs out."""
