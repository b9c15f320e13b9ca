"""The type of an input file, detected from its first bytes."""

from __future__ import annotations

import json
import shlex
import zlib

from actviz.errors import ActvizError, InputError, UnsafeError
from actviz.system.warning_filters import without_warnings

HEAD_BYTES = 16_384
ACCEPTED = "an image (PNG, JPEG, WebP, BMP, TIFF, GIF) or an array (.npy, .npz)"
ACCEPTED_NUMBERS = "an array (.npy, .npz) or lines of numbers (.csv, .txt)"
ACCEPTED_TEXT = "a text file in UTF-8 or an array of text (.npy, .npz)"

HDF5 = b"\x89HDF\r\n\x1a\n"
NPY = b"\x93NUMPY"
ZIP = b"PK\x03\x04"
ARCHIVES = (ZIP, b"PK\x05\x06")  # the second is one without members
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_POINTER = b"version https://git-lfs"
_IMAGES = (
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("JPEG", b"\xff\xd8\xff"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("TIFF", b"II+\0"),
    ("TIFF", b"MM\0+"),
)
_BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_FOREIGN = (
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"%PDF", "a PDF file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
    (b"<svg", "an SVG drawing"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
)
_ARRAY = '"input.npy"'
_NIFTI_HEADER = 540
_BINARY = frozenset(range(32)) - frozenset(b"\t\n\v\f\r")
_PICKLE_NAMES = (".npy", ".npz", ".pkl", ".pickle", ".p", ".joblib")
MODEL_MEMBERS = frozenset({"config.json", "model.weights.h5", "metadata.json"})
"""Members of a `.keras` archive."""
MODEL_SUFFIXES = (".pb", ".pbtxt", ".h5", ".hdf5", ".keras", ".tflite", ".onnx")
SECOND_MODEL = "a run has one model, its first argument; compare two with: actviz diff A B INPUTS"


def kind_of(head: bytes) -> str | None:
    """Return the file type by its first bytes: an image format, ``WAV``, ``npy``, ``zip`` or ``None``."""
    for kind, magic in _IMAGES:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "WAV"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    if head.startswith(NPY):
        return "npy"
    if head.startswith(ARCHIVES):
        return "zip"
    return None


def is_image(head: bytes) -> bool:
    """Return True if this is an image of a kind that is read."""
    return kind_of(head) not in {None, "WAV", "npy", "zip"}


def is_tflite(head: bytes) -> bool:
    """Return True if this is a TensorFlow Lite model."""
    return head[4:8] == b"TFL3"


def is_lfs_pointer(head: bytes) -> bool:
    """Return True if Git LFS left a pointer in place of the file."""
    return head.startswith(_POINTER)


def is_lines(head: bytes, size: int, path: str, *, text: bool) -> bool:
    """Return True if a file may be lines of text, or of numbers where `text` is false.

    These are files of no other known type without binary bytes. Invalid UTF-8 is reported by the
    reader, which can name the line.
    """
    if not size or is_lfs_pointer(head) or is_model(head, path) or is_pickle(head, size, path):
        return False
    plain = {"a text file", _unknown(head)} | ({"a JSON file"} if text else set())
    return not set(head) & _BINARY and _describe(head) in plain


def refusal(head: bytes, size: int, path: str, accepted: str = ACCEPTED) -> ActvizError:
    """Return the error for a file that cannot be an input; `accepted` is what can."""
    if not size:
        return InputError(f"{path}: the file is empty; {accepted} was expected.")
    if is_lfs_pointer(head):
        return InputError(f"{path}: a Git LFS pointer stands in for the file itself; run git lfs pull.")
    if is_model(head, path):
        return model_refusal(path)
    if is_pickle(head, size, path):
        return UnsafeError(
            f"{path}: pickled data, which can run any code when it is read; actviz never does, and no option "
            "allows it. Save plain numbers with numpy.save(file, array)."
        )
    medical = _medical(head, path)
    if medical:
        return InputError(f"{path}: {medical}")
    return InputError(f"{path}: this is {_describe(head)}; {accepted} was expected.")


def is_model(head: bytes, path: str) -> bool:
    """Return True for a saved model other than a ``.keras`` archive, which is a zip file."""
    if head.startswith(HDF5) or is_tflite(head):
        return True
    binary = b"\0" in head or not _is_text(head)
    return binary and path.lower().endswith(MODEL_SUFFIXES)


def model_refusal(path: str) -> InputError:
    """Return the error for a model in place of an input."""
    return InputError(f"{path}: this is a model, not an input; {SECOND_MODEL}. The other arguments must be {ACCEPTED}.")


def is_binary_pickle(head: bytes) -> bool:
    """Return True for a pickle of protocol 2 to 5, which its first two bytes identify."""
    return head[:1] == b"\x80" and head[1:2] in {b"\2", b"\3", b"\4", b"\5"}


def is_pickle(head: bytes, size: int, path: str) -> bool:
    """Return True for a pickle, without unpickling anything.

    Pickles of protocols 0 and 1 have no signature, so they are recognised only by a file name of
    pickles together with valid opcodes.
    """
    if is_binary_pickle(head):
        return True
    if not path.lower().endswith(_PICKLE_NAMES):
        return False
    import pickletools

    count = 0
    try:
        with without_warnings():
            for count, _ in enumerate(pickletools.genops(head), start=1):  # noqa: B007  (counts)
                pass
    except Exception:  # noqa: BLE001  (the parser raises anything on what is no pickle)
        return size > len(head) and count > 1
    return count > 1


def foreign_type(head: bytes) -> str | None:
    """Return the name of a known file type that no command reads, or ``None``."""
    start = _without_space(head)
    for magic, name in _FOREIGN:
        if start[: len(magic)].lower() == magic.lower():
            return name
    if head[4:8] != b"ftyp":
        return None
    if head[8:12] in {b"heic", b"heix", b"mif1", b"msf1", b"hevc"}:
        return "a HEIC image (export it as JPEG or PNG)"
    return "an AVIF image (export it as PNG)" if head[8:12] in {b"avif", b"avis"} else "a video"


def _without_space(head: bytes) -> bytes:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")


def _describe(head: bytes) -> str:
    """Return the name of the type of a file that is not of a known input type."""
    foreign = foreign_type(head)
    if foreign is not None:
        return foreign
    if _is_text(head):
        return "a JSON file" if _without_space(head)[:1] in {b"{", b"["} else "a text file"
    return "UTF-16 text (save it as UTF-8)" if head.startswith(UTF_16) else _unknown(head)


def _medical(head: bytes, path: str) -> str:
    """Return how to save the values of a DICOM or NIfTI file as an array, ``""`` for any other file.

    Both hold more than values (slopes, spacings, orientations); only their own libraries can apply
    them, and only the user knows what the model expects.
    """
    name = json.dumps(path)
    if head[128:132] == b"DICM":
        what, code = "DICOM", f"import numpy, pydicom; numpy.save({_ARRAY}, pydicom.dcmread({name}).pixel_array)"
    elif _is_nifti(head) or _is_nifti(_unpacked(head)):
        what, code = "NIfTI", f"import numpy, nibabel; numpy.save({_ARRAY}, nibabel.load({name}).get_fdata())"
    else:
        return ""
    library = "pydicom" if what == "DICOM" else "nibabel"
    return f"this is a {what} file, of which only you know how its values were prepared for the model; save them as an array, with {library} installed: python -c {shlex.quote(code)}"


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in {b"n+1\0", b"ni1\0"} or head[4:8] in {b"n+2\0", b"ni2\0"}


def _unpacked(head: bytes) -> bytes:
    """Return the first decompressed bytes of a gzip file, none for any other file."""
    if not head.startswith(b"\x1f\x8b"):
        return b""
    try:
        return zlib.decompressobj(31).decompress(head, _NIFTI_HEADER)
    except zlib.error:
        return b""


def _unknown(head: bytes) -> str:
    return f"no known kind of file (it begins with {head[:8].hex(' ')})"


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as failure:
        return failure.start > len(head) - 4
    return True
