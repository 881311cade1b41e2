"""The phantom in other layouts than the contest's: the same scans, masks and spacings.

It is drawn in the contest's layout aside, and turned into the other one scan by scan::

    drawn_scan     a scan of the contest's layout with its masks
    nifti_volume   images as NIfTI
    nnunet, nifti_pairs, dicom_studies   a scan, and what lies beside the scans
    writing        the folder

Each has scans of unseen patients too, with their masks, where nothing takes them for training.
"""
