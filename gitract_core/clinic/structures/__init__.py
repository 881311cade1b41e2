"""Structure sets, regions that somebody drew in a series: RTSTRUCT and DICOM segmentations, read.

Each step knows only the ones before it::

    planes       where the images of a series are in the patient
    polygons     from closed outlines to pixels
    structure_set  what a file says of its regions, and what a region covers
    rtstruct_reading, seg_reading   the two kinds of files
    reading      either kind

Contours become voxels by the inverse of what ``clinic.rtstruct`` writes: a pixel belongs to a
region if its center does.
"""
