"""DICOM studies: a folder a study with an MR series and its RTSTRUCT, the same bytes each time."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from gitract_core.clinic.dicom import read_dicom
from gitract_core.clinic.dicom_files import no_warnings, open_dicom
from gitract_core.clinic.rtstruct import write_rtstruct
from gitract_core.files.atomic import write_bytes
from gitract_core.organs import Organs
from gitract_core.phantom.formats.drawn_scan import DrawnScan

HELD_OUT = "test"
"""Folder of scans that are not trained on, see ``data.layouts.dicom.inventory``."""
_DATE, _TIME = "20000101", "120000"
_EMPTY = (
    "AccessionNumber",
    "EchoTime",
    "EchoTrainLength",
    "Laterality",
    "PatientBirthDate",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "RepetitionTime",
    "ScanOptions",
)


def write_scan(drawn: DrawnScan, root: Path) -> None:
    """A study: one file a slice, and an RTSTRUCT beside them."""
    folder = (root / HELD_OUT if drawn.held_out else root) / drawn.name
    structures = folder / "RTSTRUCT.dcm"
    if structures.is_file():
        return
    for number in range(1, len(drawn.scan.images) + 1):
        write_bytes(folder / f"MR_{number:04d}.dcm", _content(_slice(drawn, number)))
    write_bytes(structures, _rtstruct(drawn, folder))


def write_description(root: Path, organs: Organs, scans: int) -> str:
    """Nothing beside the studies; returns what ``dataset.yaml`` has to say."""
    return f"organs: [{', '.join(organs)}]\n"


def _slice(drawn: DrawnScan, number: int) -> FileDataset:
    """The image of a slice; numbers count from 1, at the head."""
    pixels = drawn.scan.images[number - 1]
    affine = drawn.scan.placing.affine
    made = _file(MRImageStorage, drawn, f"image {number}")
    _identify(made, drawn)
    made.Modality, made.SeriesDescription = "MR", "phantom"
    made.SeriesInstanceUID = _uid(drawn, "series")
    made.SeriesNumber, made.InstanceNumber = 1, number
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.ScanningSequence, made.SequenceVariant, made.MRAcquisitionType = "RM", "NONE", "2D"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    x_mm, y_mm, z_mm = (float(-affine[axis, axis]) for axis in range(3))
    made.PixelSpacing = [_decimal(y_mm), _decimal(x_mm)]
    made.SliceThickness = made.SpacingBetweenSlices = _decimal(z_mm)
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    right, front, head = affine[:3, 3]
    z = head - z_mm * (number - 1)
    made.ImagePositionPatient = [_decimal(-right), _decimal(-front), _decimal(z)]
    made.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    return made


def _rtstruct(drawn: DrawnScan, folder: Path) -> bytes:
    """What ``predict`` writes, without its own time and numbers."""
    with TemporaryDirectory() as aside, no_warnings():
        scan = read_dicom(folder, drawn.name)
        (file,) = write_rtstruct(scan, drawn.masks, Path(aside), organs=drawn.organs)
        made = open_dicom(file)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = _uid(drawn, "structures")
    made.SeriesInstanceUID = _uid(drawn, "series of structures")
    made.StructureSetDate = made.InstanceCreationDate = _DATE
    made.StructureSetTime = made.InstanceCreationTime = _TIME
    made.SeriesDescription = made.StructureSetLabel = made.StructureSetName = "phantom"
    return _content(made)


def _file(kind: UID, drawn: DrawnScan, what: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = _uid(drawn, what)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    return made


def _identify(made: Dataset, drawn: DrawnScan) -> None:
    """Patient and study."""
    for name in _EMPTY:
        setattr(made, name, "")
    made.PatientID, made.PatientName = drawn.patient, f"Phantom^{drawn.patient}"
    made.StudyInstanceUID, made.StudyID = _uid(drawn, "study"), drawn.name[:16]
    made.FrameOfReferenceUID = _uid(drawn, "frame of reference")
    made.StudyDate, made.StudyTime = _DATE, _TIME
    made.Manufacturer = "gitract-cv"


def _uid(drawn: DrawnScan, what: str) -> UID:
    """A number of its own for each thing, the same for the same images."""
    images = drawn.scan.images
    seen = np.ascontiguousarray(images[len(images) // 2]).tobytes().hex()[:4096]
    return generate_uid(entropy_srcs=[drawn.name, what, seen])


def _decimal(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _content(made: FileDataset) -> bytes:
    content = BytesIO()
    made.save_as(content, enforce_file_format=True)
    return content.getvalue()
