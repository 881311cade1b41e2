"""A synthetic abdomen in any layout: scans, organs and annotations without patients.

Each step knows only the ones before it::

    spec       parameters of a phantom, and the published counts
    plan       which organ in which slice (planning samples it, balance makes its counts exact,
               peaks its profile)
    frame      where a body lies in the images; curves: smooth lines and fields
    tubes      hollow organs; organ_paths: the ways they take
    body       what surrounds them; tissue: their signal
    artifacts  faults of single slices, which their neighbors do not have
    signal     from tissues to an image; slips: annotators' errors; scan: all of one scan
    writing    the folder
    formats    the same in other layouts
"""

from gitract_core.phantom.formats.writing import Format, write_phantom_as
from gitract_core.phantom.phantom_spec import PhantomSpec
from gitract_core.phantom.planning.drawing import make_plan
from gitract_core.phantom.planning.scan_plan import PhantomPlan, ScanPlan
from gitract_core.phantom.writing import write_phantom, write_phantom_of

__all__ = [
    "Format",
    "PhantomPlan",
    "PhantomSpec",
    "ScanPlan",
    "make_plan",
    "write_phantom",
    "write_phantom_as",
    "write_phantom_of",
]
