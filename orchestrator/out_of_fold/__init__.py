"""Out-of-fold predictions: averages, their scores, the audit of annotations."""
