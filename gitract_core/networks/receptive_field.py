"""How many pixels of the input one unit of the deepest level can see, along one side.

Two recurrences, since the paper's counts the convolutions but not the pooling windows. Write r for
the side seen after the two 3x3 convolutions of a level and j for the distance, in input pixels, of
neighboring units there (j = 2 to the power of the level):

* paper: r -> 2r + 3, from 5;
* exact: a 2x2 pooling adds j, each 3x3 convolution at the next level adds 2 * 2j:
  r -> r + j + 8j = r + 9j. See Araujo, Norris and Sim, "Computing receptive fields of
  convolutional neural networks", Distill 2019, doi 10.23915/distill.00021.
"""

from __future__ import annotations

FIRST_LEVEL_PX = 5


def receptive_field_paper(depth: int) -> int:
    """Side in pixels after ``depth`` poolings by the paper's recurrence.

    >>> [receptive_field_paper(depth) for depth in range(6)]
    [5, 13, 29, 61, 125, 253]
    """
    side = FIRST_LEVEL_PX
    for _ in range(depth):
        side = 2 * side + 3
    return side


def receptive_field_exact(depth: int) -> int:
    """Side in pixels that one unit after ``depth`` poolings and their convolutions sees.

    >>> [receptive_field_exact(depth) for depth in range(6)]
    [5, 14, 32, 68, 140, 284]
    """
    side, jump = FIRST_LEVEL_PX, 1
    for _ in range(depth):
        side += 9 * jump
        jump *= 2
    return side
