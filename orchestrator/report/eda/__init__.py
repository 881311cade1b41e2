"""The seed paper's tables and figures about the data."""
