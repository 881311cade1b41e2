"""An RTSTRUCT: organs as contours in the patient's millimeters, for planning systems.

It belongs to the study and frame of reference of the series it was made from, names the image of
every contour, and holds one region an organ. It is written in implicit VR, since explicit VR has
no room for contours of more than 64 KiB.
"""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from gitract_core.clinic.contours import outlines
from gitract_core.clinic.dicom_files import no_warnings
from gitract_core.clinic.scan import Scan
from gitract_core.clinic.series import axes_mm, position
from gitract_core.errors import DataError
from gitract_core.files.atomic import write_bytes
from gitract_core.organs import Organs

_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"  # as older systems expect it of a referenced study
_KEPT = (  # patient and study are the series' own
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)
_MAY_BE_MISSING = ("SpecificCharacterSet", "StudyDescription")  # all others at least empty


def write_rtstruct(scan: Scan, masks: np.ndarray, out: Path, *, organs: Organs) -> list[Path]:
    """Masks of a DICOM series as ``NAME_rtstruct.dcm``.

    Args:
        scan: read from a DICOM series.
        masks: boolean (organs, slices, height, width), as predicted.
        out: folder.
        organs: of the masks; they also give the colors.

    Returns:
        the file.

    Raises:
        DataError: as ``check_series``.
    """
    with no_warnings():
        return _write(scan, masks, out, organs)


def _write(scan: Scan, masks: np.ndarray, out: Path, organs: Organs) -> list[Path]:
    check_series(scan)
    dataset = _dataset(scan)
    for number, (organ, mask) in enumerate(zip(organs, masks, strict=True), 1):
        _add_region(dataset, number, organ)
        contours = Dataset()
        contours.ReferencedROINumber = number
        contours.ROIDisplayColor = list(bytes.fromhex(organs.colors[organ].removeprefix("#")))
        found = _contours(scan, scan.placing.turned_back(mask))
        if found:
            contours.ContourSequence = Sequence(found)
        dataset.ROIContourSequence.append(contours)
    file = out / f"{scan.name}_rtstruct.dcm"
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    write_bytes(file, content.getvalue())
    return [file]


def check_series(scan: Scan) -> None:
    """Check that an RTSTRUCT can refer to a scan.

    Raises:
        DataError: it is not a DICOM series, or an image of it lacks what is referred to.
    """
    if not scan.series:
        expected = "a DICOM series for an RTSTRUCT"
        raise DataError(scan.name, expected, "a scan without one", "pass --format nifti")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID"):
        with no_warnings():
            known = all(header.get(name) for header in scan.series)
        if not known:
            raise DataError(scan.name, name, "none", "export the series again, or use NIfTI")


def _contours(scan: Scan, mask: np.ndarray) -> list[Dataset]:
    """Contours of a mask in the axes of the series, (images, rows, columns)."""
    made = []
    for place in np.flatnonzero(mask.any(axis=(1, 2))):
        header = scan.series[place]
        for outline in outlines(mask[place]):
            points = position(header) + outline @ np.stack(axes_mm(header))
            contour = Dataset()
            contour.ContourImageSequence = Sequence([_reference(header)])
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{value:.3f}" for value in points.ravel()]
            made.append(contour)
    return made


def _add_region(dataset: Dataset, number: int, organ: str) -> None:
    region, observation = Dataset(), Dataset()
    region.ROINumber = observation.ObservationNumber = number
    region.ReferencedFrameOfReferenceUID = dataset.FrameOfReferenceUID
    region.ROIName = organ
    region.ROIGenerationAlgorithm = "AUTOMATIC"
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = "ORGAN"
    observation.ROIInterpreter = ""
    dataset.StructureSetROISequence.append(region)
    dataset.RTROIObservationsSequence.append(observation)


def _dataset(scan: Scan) -> FileDataset:
    """Everything but the organs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    source = scan.series[0]
    for name in _KEPT:
        if name in source:
            made[name] = source[name]
        elif name not in _MAY_BE_MISSING:
            setattr(made, name, "")
    now = datetime.now()
    made.SOPClassUID, made.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    made.Modality, made.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    made.SeriesNumber, made.InstanceNumber, made.OperatorsName = "", 1, ""
    made.SeriesDescription = "gitract-cv, not reviewed"
    made.Manufacturer, made.ManufacturerModelName = "gitract-cv", "gitract-cv"
    made.SoftwareVersions = _version()
    made.StructureSetLabel, made.StructureSetName = "gitract-cv", "gitract-cv"
    made.StructureSetDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.StructureSetTime = made.InstanceCreationTime = now.strftime("%H%M%S")
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = Sequence([_frame_of_reference(scan)])
    made.StructureSetROISequence = Sequence()
    made.ROIContourSequence = Sequence()
    made.RTROIObservationsSequence = Sequence()
    return made


def _frame_of_reference(scan: Scan) -> Dataset:
    first = scan.series[0]
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = Sequence([_reference(header) for header in scan.series])
    study.ReferencedSOPClassUID = _STUDY_COMPONENT
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = Sequence([series])
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = Sequence([study])
    return frame


def _reference(header: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if "ReferencedFrameNumber" in header:  # one of many in a file
        reference.ReferencedFrameNumber = header.ReferencedFrameNumber
    return reference


def _version() -> str:
    try:
        return version("gitract-cv")
    except PackageNotFoundError:
        return "unknown"
