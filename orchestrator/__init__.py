"""The orchestrator: sweeps of candidates by folds, their executors, reports and ensembles."""
