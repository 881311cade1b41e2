"""Intervals and tests: of a score, of a difference, of all differences at once.

::

    bootstrap     draws of cases and of the luck of training
    simultaneous  how far behind the first, all candidates at once
    comparisons   which candidates are tied with the first
    to_come       the mean score of a set of patients to come
    corrected_t   the test over folds that knows that training sets overlap
    signed_rank   Wilcoxon's test, without the weight of scipy.stats
"""
