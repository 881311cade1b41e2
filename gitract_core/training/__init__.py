"""Training one network: the loop, a step as a CUDA graph, early stopping, checkpoints."""
