"""DICOM studies: a folder a study, with a series and maybe an RTSTRUCT or a segmentation of it.

Files are told by their content, may lie in any folders below the data set's, and need no suffix.
Each step knows only the ones before it::

    inventory    the series and the structure sets below a folder
    studies      which structure set is of which series, and what a scan is called
    roi_names    which region is which organ
    dicom_studies   the data set
"""
