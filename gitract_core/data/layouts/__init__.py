"""Data sets of other layouts than the contest's; each reader gives the same ``Contents``.

==============  ==================================================================================
contest         ``train.csv`` and ``train/``, or ``caseN/caseN_dayN/scans/*.png`` without masks
nnU-Net         ``dataset.json``, ``imagesTr/NAME_0000.nii.gz``, ``labelsTr/NAME.nii.gz``
NIfTI pairs     ``images/`` and ``labels/``: one label map a scan, or one mask file an organ
DICOM studies   a folder a study: an MR or CT series, with an RTSTRUCT or a segmentation, or alone
==============  ==================================================================================

A ``dataset.yaml`` beside them says what no convention says, see ``description``.
"""
