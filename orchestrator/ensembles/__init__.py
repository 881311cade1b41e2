"""Ensembles: selection, cross-fitted scores, prediction of new scans, bundles."""
