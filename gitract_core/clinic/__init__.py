"""Scans as a clinic has them, NIfTI files and DICOM series, read and answered in kind.

**Axes.** Networks learned from the contest's images, so every scan is turned as those are: axis 0
(slices) from head to feet, axis 1 (rows) from front to back, axis 2 (columns) from the patient's
right to the left: the radiological view. Millimeters are NIfTI's: x to the patient's left counts
negative, "RAS"; DICOM's "LPS" has the signs of x and y turned. Slices that are tilted go to the
nearest axes, without resampling, so that masks return to the scan's own voxels exactly.

Each step knows only the ones before it::

    file_kinds   what lies in a folder; the optional packages
    orientation  how a file's array lies in the patient: turn it, turn masks back
    scan         a scan from anywhere, turned and in 16 bits, and what is unusual about it
    background   padding and constants outside of the body
    unlike_mr    values of CT, maps of labels
    nifti        read and write NIfTI (nibabel)
    dicom_files  one DICOM file, and the images in it (pydicom)
    series       which DICOM files make a series, and in what order
    dicom        read a DICOM series
    contours     a mask's outline in one plane (contourpy)
    rtstruct     write an RTSTRUCT of a series (pydicom)

nibabel and pydicom are an optional extra: ``pip install gitract-cv[clinic]``. Both are the
reference libraries of their formats. ``rt-utils`` would write an RTSTRUCT too, but demands
``opencv-python``, which overwrites the headless build that we need, and a backport of
``dataclasses``; ``highdicom`` writes segmentations and reports, not RTSTRUCT.
"""
