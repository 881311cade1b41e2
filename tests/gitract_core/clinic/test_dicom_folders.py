"""What lies in a clinic's folders: other objects, enhanced and bare files, missing tags."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEGLosslessSV1,
    JPEGLSLossless,
    RTDoseStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from gitract_core.clinic.dicom import read_dicom
from gitract_core.clinic.nifti import write_nifti
from gitract_core.clinic.rtstruct import write_rtstruct
from gitract_core.data.sources import find_sources
from gitract_core.errors import DataError, NoScanError
from gitract_core.organs import CONTEST
from gitract_core.prediction.clinical import check_sources
from tests.support.clinic_files import axial_series, block, dicom_slice, write_series

BIG = (40, 36, 8)
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def inside(volume: np.ndarray) -> np.ndarray:
    return volume.transpose(2, 1, 0)[::-1]


def masks_of(images: np.ndarray) -> np.ndarray:
    mask = images == 1000
    return np.stack([mask, mask & (np.arange(mask.shape[2]) < 5), np.zeros_like(mask)])


# --- objects beside the series ------------------------------------------------------------------


def dose() -> FileDataset:
    made = dicom_slice(np.full((36, 40), 7), (0.0, 0.0, 0.0))
    made.Modality, made.SOPClassUID, made.SeriesInstanceUID = "RTDOSE", RTDoseStorage, "1.2.77"
    made.file_meta.MediaStorageSOPClassUID = RTDoseStorage
    return made


def screenshot() -> FileDataset:
    made = dicom_slice(np.zeros((36, 40)), (0.0, 0.0, 0.0))
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    made.PhotometricInterpretation = "MONOCHROME1"
    return made


def structures() -> FileDataset:
    made = dose()
    for name in ("Rows", "Columns", "PixelData"):
        delattr(made, name)
    made.Modality, made.SOPClassUID = "RTSTRUCT", RTStructureSetStorage
    made.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    return made


def localizer() -> FileDataset:
    made = dicom_slice(np.zeros((36, 40)), (0.0, -60.0, 60.0), (0, 1, 0, 0, 0, -1))
    made.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return made


def scout_that_does_not_say_so() -> FileDataset:
    made = localizer()
    made.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    return made


@pytest.mark.parametrize(
    "beside", [dose, structures, screenshot, localizer, scout_that_does_not_say_so]
)
def test_what_lies_beside_a_series_is_left_aside_with_a_note(
    tmp_path: Path, beside: type[FileDataset]
) -> None:
    folder = write_series(tmp_path / "s", axial_series(block(BIG)))
    beside().save_as(folder / "AA.dcm", enforce_file_format=True)
    scan = read_dicom(folder, "s")
    np.testing.assert_array_equal(scan.images, inside(block(BIG)))
    (note,) = scan.notes
    assert note.startswith("AA.dcm left aside: ")


def test_a_folder_of_such_objects_alone_is_no_series(tmp_path: Path) -> None:
    write_series(tmp_path / "s", axial_series(block(BIG)))
    (tmp_path / "dose").mkdir()
    dose().save_as(tmp_path / "dose/RD.dcm", enforce_file_format=True)
    assert [source.name for source in find_sources(tmp_path, "dicom")] == ["s"]
    with pytest.raises(NoScanError, match=r"got 0 images \(RD.dcm left aside: RTDOSE\)"):
        read_dicom(tmp_path / "dose", "dose")


def test_series_of_localizers_or_of_another_modality_are_no_scans(tmp_path: Path) -> None:
    """In a study they lie beside the one that is wanted, in folders of their own."""
    scouts, others = axial_series(block(BIG)), axial_series(block(BIG))
    for scout, other in zip(scouts, others, strict=True):
        scout.ImageType, other.Modality = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "CT"
    for name, slices in (("scouts", scouts), ("ct", others), ("mr", axial_series(block(BIG)))):
        write_series(tmp_path / name, slices)
    with pytest.raises(NoScanError, match=r"8 files left aside: a localizer \(IM0000, ...\)"):
        read_dicom(tmp_path / "scouts", "scouts")
    with pytest.raises(NoScanError, match=r"8 files left aside: CT \(IM0000, ...\)"):
        read_dicom(tmp_path / "ct", "ct")
    checked = check_sources(find_sources(tmp_path, "dicom"), "rtstruct")
    assert [source.name for source in checked.sources] == ["mr"]
    assert [line.split()[0] for line in checked.left_aside] == ["ct", "scouts"]


def test_two_images_across_each_other_are_a_fault(tmp_path: Path) -> None:
    """Which of both would be the scout?"""
    folder = write_series(tmp_path / "s", axial_series(block(BIG))[:1])
    scout_that_does_not_say_so().save_as(folder / "AA.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match="take it out if it is a localizer"):
        read_dicom(folder, "s")


# --- files of other forms -----------------------------------------------------------------------


def enhanced(volume: np.ndarray, order: list[int]) -> FileDataset:
    """One file with every slice of an axial series, frames in any order."""
    slices = axial_series(volume)
    made = slices[0]
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    made.PixelData = b"".join(slices[place].PixelData for place in order)
    made.NumberOfFrames = len(order)
    shared, per_frame = Dataset(), []
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2.0, 1.5], 3.0
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    for place in order:
        frame, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = slices[place].ImagePositionPatient
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, 0, "US"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([values])
        per_frame.append(frame)
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(made, name)
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    return made


def test_an_enhanced_multi_frame_file_is_a_series(tmp_path: Path) -> None:
    order = [3, 0, 7, 1, 2, 6, 5, 4]
    folder = write_series(tmp_path / "s", [enhanced(block(BIG), order)])
    scan = read_dicom(folder, "s")
    np.testing.assert_array_equal(scan.images, 2 * inside(block(BIG)))
    assert scan.placing.spacing_mm == pytest.approx((3.0, 2.0, 1.5))
    masks = masks_of(scan.images // 2)
    made = dcmread(write_rtstruct(scan, masks, tmp_path, organs=CONTEST)[0])
    for contour in made.ROIContourSequence[0].ContourSequence:
        (image,) = contour.ContourImageSequence
        place = order[int(image.ReferencedFrameNumber) - 1]
        assert float(contour.ContourData[2]) == 5.0 + 3 * place
        assert image.ReferencedSOPClassUID == ENHANCED_MR


def test_frames_of_two_echoes_are_a_fault(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [enhanced(block(BIG), [*range(8), *range(8)])])
    with pytest.raises(DataError, match="keep one image a place, of one echo and one time"):
        read_dicom(folder, "s")


@pytest.mark.parametrize("implicit", [False, True])
def test_files_without_a_preamble_are_read(tmp_path: Path, implicit: bool) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    for number, image in enumerate(axial_series(block(BIG))):
        plain = Dataset()
        plain.update(image)
        with (folder / f"IM{number}.dcm").open("wb") as file:
            dcmwrite(file, plain, implicit_vr=implicit, little_endian=True)
        assert not (folder / f"IM{number}.dcm").read_bytes()[128:].startswith(b"DICM")
    np.testing.assert_array_equal(read_dicom(folder, "s").images, inside(block(BIG)))


def test_errors_of_libraries_are_not_cut_in_a_word_and_give_no_advice_of_theirs(
    tmp_path: Path,
) -> None:
    folder = write_series(tmp_path / "s", axial_series(block(BIG)))
    (folder / "IM0001.dcm").write_bytes(b"text, not an image. " * 20)
    with pytest.raises(DataError) as caught:
        read_dicom(folder, "s")
    assert "got a file without a DICOM header; restore the file" in str(caught.value)
    assert "force" not in str(caught.value)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_a_missing_decoder_is_named(tmp_path: Path, syntax: str) -> None:
    slices = axial_series(block(BIG))
    for image in slices:
        image.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0abcd"
        image["PixelData"].is_undefined_length = True
        image.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(DataError) as caught:
        read_dicom(write_series(tmp_path / "s", slices), "s")
    line = str(caught.value)
    known = shutil.which("python") and _has_gdcm()
    assert ("; restore the file" in line) if known else ("'gitract-cv[jpeg]'" in line)
    assert "expected pixels in JPEG" in line


def _has_gdcm() -> bool:
    try:
        import gdcm  # noqa: F401
    except ImportError:
        return False
    return True


def test_jpeg_lossless_and_jpeg_ls_are_read(tmp_path: Path) -> None:
    gdcm = pytest.importorskip("gdcm", reason="the extra jpeg is not installed")
    kinds = {"lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1}
    kinds["ls"] = gdcm.TransferSyntax.JPEGLSLossless
    plain = write_series(tmp_path / "plain", axial_series(block(BIG)))
    for name, kind in kinds.items():
        folder = tmp_path / name
        folder.mkdir()
        for file in plain.iterdir():
            reader = gdcm.ImageReader()
            reader.SetFileName(str(file))
            assert reader.Read()
            change = gdcm.ImageChangeTransferSyntax()
            change.SetTransferSyntax(gdcm.TransferSyntax(kind))
            change.SetInput(reader.GetImage())
            assert change.Change()
            writer = gdcm.ImageWriter()
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            writer.SetFileName(str(folder / f"{file.stem}.dcm"))
            assert writer.Write()
        np.testing.assert_array_equal(read_dicom(folder, "s").images, inside(block(BIG)))


# --- what libraries and readers of our files say ------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")  # of who writes such files
def test_values_that_are_not_quite_right_warn_nobody(tmp_path: Path) -> None:
    slices = axial_series(block(BIG))
    for number, image in enumerate(slices):
        image.SOPInstanceUID = f"1.2.3.{number:03d}"
        image.PatientBirthDate, image.StudyDate = "1970", "2020-01-02"
    folder = write_series(tmp_path / "s", slices)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scan = read_dicom(folder, "s")
        find_sources(tmp_path, "dicom")
        file = write_rtstruct(scan, masks_of(scan.images), tmp_path, organs=CONTEST)[0]
        assert file.stat().st_size


OPTIONAL = (
    "PositionReferenceIndicator",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
TYPE_2 = {  # PS3.3: these may be empty, and may not be missing
    *OPTIONAL,
    "Manufacturer",
    "SeriesNumber",
    "OperatorsName",
    "StructureSetDate",
    "StructureSetTime",
} - {"StudyDescription"}


def series_without(folder: Path, names: tuple[str, ...]) -> Path:
    slices = axial_series(block(BIG))
    for image in slices:
        image.StudyInstanceUID = image.FrameOfReferenceUID = generate_uid(entropy_srcs=["study"])
        image.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
        for name in OPTIONAL:
            if name in names:
                image.pop(name, None)
            elif name not in image:
                setattr(image, name, "")
    return write_series(folder, slices)


@pytest.mark.parametrize("missing", [OPTIONAL, (), *((name,) for name in OPTIONAL)])
def test_an_rtstruct_has_all_that_may_not_be_missing(
    tmp_path: Path, missing: tuple[str, ...]
) -> None:
    scan = read_dicom(series_without(tmp_path / "s", missing), "s")
    file = write_rtstruct(scan, masks_of(scan.images), tmp_path, organs=CONTEST)[0]
    assert set(dcmread(file).dir()) >= TYPE_2
    if shutil.which("dciodvfy"):
        done = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        assert "Error" not in done.stderr + done.stdout


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="Debian's dicom3tools is not installed")
def test_dciodvfy_notices_what_is_missing(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    scan = read_dicom(series_without(tmp_path / "s", ()), "s")
    file = write_rtstruct(scan, masks_of(scan.images), tmp_path, organs=CONTEST)[0]
    made = dcmread(file)
    del made.PositionReferenceIndicator
    made.save_as(file)
    done = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
    assert "Error" in done.stderr + done.stdout


# --- geometry -----------------------------------------------------------------------------------


def sheared(volume: np.ndarray, mm: float) -> list[FileDataset]:
    """Axial slices, each shifted to the back against the one before it."""
    slices = axial_series(volume)
    for number, image in enumerate(slices):
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y + mm * number, z]
    return slices


def test_masks_of_a_sheared_series_have_no_form_that_lies(tmp_path: Path) -> None:
    scan = read_dicom(write_series(tmp_path / "s", sheared(block(BIG), 0.6)), "s")
    (note,) = scan.notes
    assert "its slices are shifted against each other" in note
    image = nib.load(write_nifti(scan, masks_of(scan.images), tmp_path, organs=CONTEST)[0])
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(image.affine, scan.placing.affine, atol=1e-4)


@pytest.mark.parametrize("mm", [0.0, 0.6, 1.5])
def test_a_qform_that_is_there_says_what_the_sform_says(tmp_path: Path, mm: float) -> None:
    scan = read_dicom(write_series(tmp_path / "s", sheared(block(BIG), mm)), "s")
    image = nib.load(write_nifti(scan, masks_of(scan.images), tmp_path, organs=CONTEST)[0])
    corners = np.array([[0, 0, 0, 1], [7, 0, 0, 1], [0, 35, 39, 1], [7, 35, 39, 1]])
    qform, sform = (corners @ f.T for f in (image.get_qform(), image.get_sform()))
    away = np.linalg.norm(qform - sform, axis=1).max()
    assert (away < 0.6) == (int(image.header["qform_code"]) == 1) == (mm == 0)
    assert scan.placing.shear_mm == pytest.approx(away, abs=0.5)
