"""RTSTRUCT and segmentations as other systems write them, by pydicom and highdicom alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

_ASKED_FOR = (
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def rtstruct(
    source: Dataset,
    regions: Mapping[str, Sequence[Dataset]],
    kinds: Mapping[str, str] | None = None,
) -> FileDataset:
    """An RTSTRUCT of a series with the least that the standard asks for.

    Args:
        source: an image of the series.
        regions: contours of each name, see ``contour``.
        kinds: RTROIInterpretedType of names.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    made.Modality, made.PatientID = "RTSTRUCT", source.PatientID
    made.StudyInstanceUID, made.SeriesInstanceUID = source.StudyInstanceUID, generate_uid()
    made.StructureSetLabel = "by hand"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    made.RTROIObservationsSequence = []
    for number, (name, contours) in enumerate(regions.items(), 1):
        roi, drawn, observed = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = source.FrameOfReferenceUID
        drawn.ReferencedROINumber = observed.ReferencedROINumber = number
        drawn.ContourSequence = list(contours)
        observed.ObservationNumber = number
        observed.RTROIInterpretedType = (kinds or {}).get(name, "")
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
        made.RTROIObservationsSequence.append(observed)
    return made


def contour(
    points: np.ndarray, image: Dataset | None = None, kind: str = "CLOSED_PLANAR"
) -> Dataset:
    """A contour of points (points, 3) in millimeters, which may name its image."""
    made = Dataset()
    made.ContourGeometricType, made.NumberOfContourPoints = kind, len(points)
    made.ContourData = [f"{value:.4f}" for value in np.ravel(points)]
    if image is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        made.ContourImageSequence = [reference]
    return made


def box(image: Dataset, rows: tuple[float, float], columns: tuple[float, float]) -> np.ndarray:
    """Corners of a rectangle in an axial image, given in pixels, as points in millimeters."""
    (top, bottom), (left, right) = rows, columns
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    between_rows, between_columns = map(float, image.PixelSpacing)
    x, y, z = map(float, image.ImagePositionPatient)
    flat = corners * (between_columns, between_rows) + (x, y)
    return np.column_stack([flat, np.full(4, z)])


def segmentation(
    folder: Path, masks: Mapping[str, np.ndarray], kind: str = "BINARY", **how: object
) -> Segmentation:
    """A segmentation of the series in a folder, by highdicom.

    Args:
        folder: that holds the series and nothing else.
        masks: by name, (images, rows, columns) feet first: boolean, or shares.
        kind: of the segmentation.
        how: further arguments of highdicom.
    """
    images = sorted(
        (dcmread(file) for file in folder.iterdir()), key=lambda i: float(i.ImagePositionPatient[2])
    )
    for image in images:
        for name in _ASKED_FOR:
            if name not in image:
                setattr(image, name, "")
    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Stomach,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(masks, 1)
    ]
    return Segmentation(
        images,
        np.stack(list(masks.values()), axis=-1),
        kind,
        described,
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="tests",
        manufacturer_model_name="tests",
        software_versions="1",
        device_serial_number="1",
        **how,
    )
