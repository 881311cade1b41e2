"""From weights to masks: inference, post-processing, ensembles, submissions."""
