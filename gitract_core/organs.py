"""The three organs, in channel order: the order of the rows of the contest's ``train.csv``.

Masks of organs overlap, so the task is multi-label: three sigmoid channels, never a softmax.
"""

ORGANS: tuple[str, str, str] = ("large_bowel", "small_bowel", "stomach")
N_ORGANS = len(ORGANS)
