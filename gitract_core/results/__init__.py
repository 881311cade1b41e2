"""A trial's files: history, result, sums by case and scores by row."""
