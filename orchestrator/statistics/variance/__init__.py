"""Where the spread of scores comes from: cases, and the luck of trainings.

::

    components    variances between candidates, folds, cases and trainings; what would settle a lead
    influences    what each case does to a score
    pooling       how far variances are pooled over candidates
    luck          the luck of training, candidate by candidate
    luck_units    what is known of its size
    splits        steady candidates apart from others, by their scores
    plausible     draws of its plausible sizes
"""
