"""NIfTI volumes and DICOM series that hospitals, disks and strangers may send."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from tests.support.clinic_files import axial_series, block, dicom_slice
from tests.support.refusing import refused, run_cli

Change = Callable[[bytes], bytes]
PREDICT = "predict run/ensembles/one --out out --images"
AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])


def volume(values: np.ndarray, affine: np.ndarray = AFFINE) -> bytes:
    image = nib.Nifti1Image(values, affine)
    return image.to_bytes()


def padded(values: np.ndarray) -> np.ndarray:
    """With a frame that was never measured."""
    made = np.full_like(values, -32768)
    made[1:-1, 1:-1] = values[1:-1, 1:-1]
    return made


def good() -> bytes:
    return volume(block((12, 10, 6)))


def with_field(name: str, value: object, at: int | None = None) -> Change:
    """Another value in one field of the header, whatever it is; the rest stays."""

    def change(old: bytes) -> bytes:
        kind = nib.nifti1.header_dtype
        header = np.frombuffer(old[: kind.itemsize], kind).copy()
        if at is None:
            header[name] = value
        else:
            header[name][0, at] = value
        return header.tobytes() + old[kind.itemsize :]

    return change


def with_dims(*sides: int) -> Change:
    return with_field("dim", [len(sides), *sides, *[1] * (7 - len(sides))])


BAD_NIFTI: dict[str, Change] = {
    "empty": lambda _: b"",
    "cut in the header": lambda old: old[:100],
    "cut in the voxels": lambda old: old[:-100],
    "text": lambda _: b"not a volume\n" * 100,
    "bytes": lambda _: np.random.default_rng(0).bytes(3000),
    "NUL": lambda _: bytes(3000),
    "an .npy file": lambda _: b"\x93NUMPY\x01\x00" + bytes(3000),
    "header alone": lambda old: old[:352],
    "30000 x 30000 x 30000 claimed": with_dims(30_000, 30_000, 30_000),
    "2000 x 2000 x 2000 claimed": with_dims(2000, 2000, 2000),
    "negative sides": with_dims(-12, 10, 6),
    "a side of zero": with_dims(12, 0, 6),
    "no dimensions": with_field("dim", [0] * 8),
    "9 dimensions": with_field("dim", [9, 12, 10, 6, 1, 1, 1, 1]),
    "one slice": with_dims(12, 60, 1),
    "two volumes": with_dims(12, 10, 3, 2),
    "an unknown type": with_field("datatype", 9999),
    "type none": with_field("datatype", 0),
    "a type wider than its bits": with_field("datatype", 64),
    "voxels from NaN": with_field("vox_offset", np.nan),
    "voxels from far beyond": with_field("vox_offset", 1e30),
    "voxels from before": with_field("vox_offset", -1e6),
    "an affine of NaN": with_field("srow_x", [np.nan] * 4),
    "an affine of infinity": with_field("srow_x", [np.inf, 0, 0, 0]),
    "an affine of zeros": with_field("srow_x", [0] * 4),
    "a flat affine": with_field("srow_x", [0, -1.5, 0, 0]),
    "no orientation": lambda old: with_field("sform_code", 0)(with_field("qform_code", 0)(old)),
    "a turn that is none": lambda old: with_field("sform_code", 0)(
        with_field("quatern_b", 5)(with_field("qform_code", 1)(old))
    ),
    "orientation 99": with_field("sform_code", 99),
    "micrometers": with_field("xyzt_units", 3),
    "units 7": with_field("xyzt_units", 7),
    "other magic": with_field("magic", b"nii"),
    "colors": lambda _: volume(np.zeros((12, 10, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    "complex numbers": lambda _: volume(np.zeros((12, 10, 6), np.complex64)),
}
BAD_NIFTI |= {
    "zeros alone": lambda _: volume(np.zeros((12, 10, 6), np.int16)),
    "one value": lambda _: volume(np.full((12, 10, 6), 300, np.int16)),
    "one value and padding": lambda _: volume(padded(np.full((12, 10, 6), 300, np.int16))),
    "an empty mask": lambda _: volume(np.zeros((12, 10, 6), np.uint8)),
    "NaN and one value": lambda _: volume(
        np.where(np.arange(6) < 3, np.nan, np.full((12, 10, 6), 7.0)).astype(np.float32)
    ),
}
STRANGE_NIFTI: dict[str, Change] = {
    "values of CT": lambda _: volume((2 * block()).astype(np.int16) - 1000),
    "a label map": lambda _: volume((np.indices((12, 10, 6)) // 5).sum(0).astype(np.uint8)),
    "padding of -32768": lambda _: volume(padded(block().astype(np.int16))),
    "qform and sform apart": with_field("qoffset_x", 500.0),
    "a qform that is no turn": lambda old: with_field("qform_code", 1)(
        with_field("quatern_b", 5)(old)
    ),
    "a sheared box": with_field("srow_y", [0.0, -1.5, 0.9, 0.0]),
    "NaN alone": lambda _: volume(np.full((12, 10, 6), np.nan, np.float32)),
    "infinities": lambda _: volume(np.full((12, 10, 6), np.inf)),
    "1e308 and -1e308": lambda _: volume(np.array([1e308, -1e308] * 360).reshape(12, 10, 6)),
    "the smallest numbers": lambda _: volume(np.full((12, 10, 6), 5e-324)),
    "64 bits": lambda _: nib.Nifti1Image(
        np.full((12, 10, 6), 2**63 - 1), AFFINE, dtype="int64"
    ).to_bytes(),
    "a slope of NaN": with_field("scl_slope", np.nan),
    "a slope of 1e38": with_field("scl_slope", 3e38),
    "a slope of infinity": with_field("scl_slope", np.inf),
    "an intercept of infinity": with_field("scl_inter", np.inf),
    "voxels of a kilometer": lambda _: volume(block(), np.diag([-1e6, -1e6, 1e6, 1])),
    "voxels of an atom": lambda _: volume(block(), np.diag([-1e-12, -1e-12, 1e-12, 1])),
    "a header of a hair's breadth": with_field("sizeof_hdr", 1),
    "a MINC beginning": lambda old: b"CDF\x01" + old[4:],
    "a name with escapes": with_field("descrip", b"\x1b[2J[/red]"),
}


@pytest.mark.parametrize("damage", BAD_NIFTI)
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_nifti(home: Path, name: str, damage: str) -> None:
    content = BAD_NIFTI[damage](good())
    (home / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    refused(home, f"{PREDICT} {name}", naming=name)


BAD_GZIP: dict[str, Change] = {
    "not compressed": lambda old: old,
    "cut short": lambda old: gzip.compress(old)[:-200],
    "text": lambda _: b"not a volume\n" * 100,
    "another checksum": lambda old: gzip.compress(old)[:-8] + bytes(8),
    "damaged in the middle": lambda old: gzip.compress(old)[:300] + bytes(100),
    "a bomb without a header": lambda _: gzip.compress(bytes(3 * 10**8), 9),
    "a bomb that is what it claims": lambda old: gzip.compress(
        with_dims(2000, 2000, 60)(old)[:352] + bytes(48 * 10**7), 9
    ),
}


@pytest.mark.parametrize("damage", BAD_GZIP)
def test_gzip(home: Path, damage: str) -> None:
    (home / "scan.nii.gz").write_bytes(BAD_GZIP[damage](good()))
    refused(home, f"{PREDICT} scan.nii.gz", naming="scan.nii.gz")


@pytest.mark.parametrize("damage", STRANGE_NIFTI)
def test_strange_nifti_is_predicted_or_refused(home: Path, damage: str) -> None:
    (home / "scan.nii").write_bytes(STRANGE_NIFTI[damage](good()))
    predicted_or_refused(home, "scan.nii")


def predicted_or_refused(home: Path, name: str) -> None:
    ended = run_cli(*f"{PREDICT} {name}".split())
    if ended.code == 0:
        assert all(line.startswith("warning: ") for line in ended.err.splitlines())
        assert (home / "out/predictions.json").is_file()
    else:
        refused(home, f"{PREDICT} {name}", naming=name)


def test_nifti_links_that_lead_in_circles(home: Path) -> None:
    folder = home / "folder"
    folder.mkdir()
    (folder / "scan.nii").symlink_to(folder / "scan.nii")
    refused(home, f"{PREDICT} folder/scan.nii", naming="scan.nii")
    refused(home, f"{PREDICT} folder", naming="scan.nii")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "scan.nii").unlink()
    refused(home, f"{PREDICT} folder", naming="folder")


def test_folders_of_scans_that_are_none(home: Path) -> None:
    (home / "empty").mkdir()
    (home / "loop").symlink_to(home / "loop")
    (home / "folder.nii").mkdir()
    for name in ("empty", "loop", "missing", "folder.nii", "space.yaml", "tiny/train.csv"):
        refused(home, f"{PREDICT} {name}", naming=name)


# --- DICOM --------------------------------------------------------------------------------------

ChangeSlice = Callable[[FileDataset], object]


def saved(image: FileDataset) -> bytes:
    content = DicomBytesIO()
    image.save_as(content, enforce_file_format=True)
    return content.getvalue()


def setting(**values: object) -> ChangeSlice:
    """Other values in the header of one image; None takes one away."""

    def change(image: FileDataset) -> None:
        for name, value in values.items():
            if value is None:
                delattr(image, name)
            else:
                setattr(image, name, value)

    return change


BAD_IMAGES: dict[str, ChangeSlice] = {
    "Rows of 65535": setting(Rows=65535),
    "Rows and Columns of 65535": setting(Rows=65535, Columns=65535),
    "no Rows in one": setting(Rows=0),
    "other Rows": setting(Rows=5, Columns=24),
    "no pixels": setting(PixelData=None),
    "pixels cut short": setting(PixelData=b"\0" * 20),
    "colors": setting(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
    "3 bits": setting(BitsAllocated=3),
    "no bits": setting(BitsAllocated=None),
    "no sign": setting(PixelRepresentation=None),
    "another modality": setting(Modality="CT"),
    "no modality": setting(Modality=None),
    "two frames": setting(NumberOfFrames=2),
    "no spacing": setting(PixelSpacing=None),
    "spacing zero": setting(PixelSpacing=[0, 0]),
    "spacing below zero": setting(PixelSpacing=[-2.0, 1.5]),
    "cosines of no unit length": setting(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]),
    "cosines not at right angles": setting(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]),
    "cosines along one line": setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    "one spacing": setting(PixelSpacing=[2.0]),
    "three numbers of orientation": setting(ImageOrientationPatient=[1, 0, 0]),
    "an orientation of zeros": setting(ImageOrientationPatient=[0] * 6),
    "a place far beside": setting(ImagePositionPatient=[1e6, 0, 0]),
    "the place of another": setting(ImagePositionPatient=[-40, -30, 8]),
    "no series": setting(SeriesInstanceUID=None),
    "another series": setting(SeriesInstanceUID="1.99"),
    "another frame": setting(FrameOfReferenceUID="1.98"),
    "no instance": setting(SOPInstanceUID=None),
    "a slope of NaN": setting(RescaleSlope="1e400", RescaleIntercept="0"),
}


def write(folder: Path, images: list[FileDataset]) -> None:
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"IM{number}.dcm").write_bytes(saved(image))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")  # of who writes such files
@pytest.mark.parametrize("damage", BAD_IMAGES)
def test_dicom_header(home: Path, damage: str) -> None:
    images = axial_series(block())
    BAD_IMAGES[damage](images[0])
    write(home / "series", images)
    refused(home, f"{PREDICT} series", naming="series")


BAD_FILES: dict[str, Change] = {
    "empty": lambda _: b"",
    "cut in the header": lambda old: old[:400],
    "cut in the pixels": lambda old: old[:-50],
    "text": lambda _: b"not an image\n" * 50,
    "bytes": lambda _: np.random.default_rng(0).bytes(3000),
    "a preamble alone": lambda old: old[:132],
    "NaN for a place": lambda old: old.replace(b"-40.0", b"NaN  ", 1),
    "letters for a place": lambda old: old.replace(b"-40.0", b"abcde", 1),
    "a spacing of letters": lambda old: old.replace(b"2.0\\1.5", b"x.y\\z.w", 1),
    "an element of 4 GB claimed": lambda old: (
        old[: -240 - 12]
        + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFF_FFF0)
        + bytes(100)
    ),
    "sequences 5,000 deep": lambda old: (
        old[: old.index(b"\x08\0\x60\0CS")]
        + (b"\x08\0\x10\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4) * 5000
    ),
    "another syntax": lambda old: old.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
    "JPEG that is none": lambda old: old.replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4\0"
    ),
    "a character set that is none": lambda old: with_set(old, "ISO_IR 999"),
    "a name in bytes that are none": lambda old: with_set(old, "ISO_IR 192").replace(
        b"Doe^Jane", b"\xff\xfe\xfd\xfc\xff\xff\xff\xff"
    ),
}


def with_set(old: bytes, name: str) -> bytes:
    image = dcmread(DicomBytesIO(old))
    image.SpecificCharacterSet = "ISO_IR 192"
    return saved(image).replace(b"ISO_IR 192", name.encode().ljust(10))


@pytest.mark.parametrize("damage", BAD_FILES)
def test_dicom_file(home: Path, damage: str) -> None:
    write(home / "series", axial_series(block()))
    file = home / "series/IM0.dcm"
    before = file.read_bytes()
    file.write_bytes(BAD_FILES[damage](before))
    assert file.read_bytes() != before
    if "character" in damage or "name" in damage:
        predicted_or_refused(home, "series")
    else:
        refused(home, f"{PREDICT} series", naming="series")


def test_the_same_instance_twice(home: Path) -> None:
    images = axial_series(block())
    write(home / "copy", [*images, images[0]])
    refused(home, f"{PREDICT} copy", naming="copy")
    images[1].SOPInstanceUID = images[0].SOPInstanceUID
    write(home / "double", images)
    line = refused(home, f"{PREDICT} double", naming="double")
    assert "SOPInstanceUID" in line


def test_a_series_of_one_value(home: Path) -> None:
    write(home / "series", axial_series(np.full_like(block(), 9)))
    refused(home, f"{PREDICT} series", naming="series")


def test_doses_and_localizers_alone(home: Path) -> None:
    for name, change in (
        ("dose", setting(Modality="RTDOSE")),
        ("scouts", setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])),
    ):
        images = axial_series(block())
        for image in images:
            change(image)
        write(home / name, images)
        refused(home, f"{PREDICT} {name}", naming=name)


def test_a_missing_slice(home: Path) -> None:
    images = axial_series(block())
    write(home / "series", [*images[:2], *images[3:]])
    refused(home, f"{PREDICT} series", naming="series")


def test_an_image_of_a_gigapixel_that_is_all_there(home: Path) -> None:
    """Compressed a thousandfold."""
    pixels = np.zeros((8000, 8000), np.uint16)
    images = [dicom_slice(pixels, (0.0, 0.0, 3.0 * z)) for z in range(3)]
    for image in images:
        image.compress(RLELossless, generate_instance_uid=False)
    write(home / "series", images)
    refused(home, f"{PREDICT} series", naming="series")


def test_a_deflated_bomb(home: Path) -> None:
    write(home / "series", axial_series(block()))
    bomb = axial_series(block())[0]
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb.PixelData = bytes(4 * 10**8)
    (home / "series/IM0.dcm").write_bytes(saved(bomb))
    del bomb
    assert (home / "series/IM0.dcm").stat().st_size < 2**20
    refused(home, f"{PREDICT} series", naming="IM0.dcm")


def test_names_in_any_script(home: Path) -> None:
    """Folders, patients and descriptions may have any name; it is no reason to fail."""
    images = axial_series(block())
    for image in images:
        image.SpecificCharacterSet = "ISO_IR 192"
        image.PatientName = "山田^太郎 \u202e[/red]"
        image.SeriesDescription = "Ünïcode \U0001f9e0"
    folder = home / "山田 [bold]\u202e"
    write(folder, images)
    ended = run_cli(*PREDICT.split(), str(folder))
    assert ended.code == 0, ended.err
    assert "山田 [bold]" in ended.out


def test_dicom_links_that_lead_in_circles(home: Path) -> None:
    folder = home / "series"
    write(folder, axial_series(block()))
    (folder / "more").symlink_to(folder, target_is_directory=True)
    (folder / "loop.dcm").symlink_to(folder / "loop.dcm")
    assert run_cli(*f"{PREDICT} series".split()).code == 0
