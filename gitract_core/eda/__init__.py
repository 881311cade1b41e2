"""Exploratory analysis of a data set's annotations: the seed paper's tables and figures as numbers.

No mask is decoded: each run of each mask is a stretch on one line on which all slices lie end to
end, and one pass over the run borders gives, for every slice, the area of every combination of
organs. Everything else is counting. Each step knows only the ones before it::

    annotations  the masks of a data set as columns: slice, scan, size, a text an organ
    coverage     texts -> pixels of each organ, and of organs together, a row a slice
    counting     tables 1 to 4, the combinations, figure 3
    positions    figure 6: at which slice numbers organs lie; gaps within a scan
    overlaps     figure 12: how far organs overlap; areas of organs
    inventory    cases, scans, sizes
    exploration  all of these of one data set, and which slices to show (figures 4 and 5)
"""

from gitract_core.eda.annotations import Annotations
from gitract_core.eda.coverage import Coverage
from gitract_core.eda.exploration import Exploration, explore

__all__ = ["Annotations", "Coverage", "Exploration", "explore"]
