"""The seed paper's tables and figures about training, of a run."""
