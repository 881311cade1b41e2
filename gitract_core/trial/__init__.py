"""One trial: training, out-of-fold scores, reuse of weights, measured cost."""
