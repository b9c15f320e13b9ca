"""More hostile model files: sums that do not match, and sizes that only unpacking shows.

Importing this module registers its cases beside those of `hostile_cases`.
"""

from __future__ import annotations

import struct
import zipfile
import zlib

import h5py
import hostile_files as files
import numpy as np
from hostile_cases import case
from hostile_files import dense, functional, hdf5, keras, stored


# ------------------------------------------------------------------ 121: checksums
def with_changed_byte(path, member, compression):
    """A `.keras` archive one byte of which was changed after it was written."""
    keras(path, functional(dense()), compression=compression)
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = info.header_offset + 30 + len(member) + info.compress_size // 2
    if member == "model.weights.h5" and compression == zipfile.ZIP_STORED:
        content = raw.index(files.KERNEL.tobytes()) + 4 * 5 + 3  # the exponent of one weight
    raw[content] ^= 1
    path.write_bytes(raw)
    return path


def with_wrong_sum(path, member):
    """A `.keras` archive whose directory names another checksum than the content has."""
    keras(path, functional(dense()))
    raw = bytearray(path.read_bytes())
    place = raw.rindex(member.encode()) - 46
    struct.pack_into("<I", raw, place + 16, struct.unpack_from("<I", raw, place + 16)[0] ^ 1)
    path.write_bytes(raw)
    return path


DAMAGED = "does not match its checksum|in the archive is damaged"
for packing, name in ((zipfile.ZIP_STORED, "stored"), (zipfile.ZIP_DEFLATED, "deflated")):
    for held in ("metadata.json", "config.json", "model.weights.h5"):
        case(121, f"{held}, {name}", 4, DAMAGED)(
            lambda folder, held=held, packing=packing: with_changed_byte(folder / "m.keras", held, packing)
        )
case(121, "a sum in the directory", 4, DAMAGED)(lambda folder: with_wrong_sum(folder / "m.keras", "model.weights.h5"))


# ------------------------------------------------------------------ 122: directories
def crowded(path, count, declared=None, extended=False):
    """A small archive with many entries in its directory; `declared` is what the end record says."""
    keras(path, functional(dense()))
    raw = path.read_bytes()
    start, size = struct.unpack_from("<I", raw, len(raw) - 6)[0], struct.unpack_from("<I", raw, len(raw) - 10)[0]
    entries = raw[start : start + size]
    head = bytearray(46)
    head[:4] = b"PK\x01\x02"
    struct.pack_into("<H", head, 28, 7)
    entries += b"".join(bytes(head) + b"%07d" % number for number in range(count))
    total = count + 3 if declared is None else declared
    end = b""
    if extended:
        end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, total, total, len(entries), start)
        end += b"PK\x06\x07" + struct.pack("<IQI", 0, start + len(entries), 1)
        total = 0xFFFF
    end += b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, total & 0xFFFF, total & 0xFFFF, len(entries), start, 0)
    path.write_bytes(raw[:start] + entries + end)
    return path


MANY = r"more than 10,000 members in the archive"
case(122, "400,000 members", 6, MANY)(lambda folder: crowded(folder / "m.keras", 400_000, extended=True))
case(122, "400,000 members, 5 declared", 6, MANY)(lambda folder: crowded(folder / "m.keras", 400_000, declared=5))
case(122, "5 members, 60,000 declared", 6, MANY)(lambda folder: crowded(folder / "m.keras", 5, declared=60_000))


def long_names(path):
    """An archive whose directory is 70 MB of comments."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1100):
            info = zipfile.ZipInfo(str(number))
            info.comment = b" " * 0xFFFF
            archive.writestr(info, "")
    return path


case(122, "a directory of 70 MB", 6, "the directory of the archive has 7")(
    lambda folder: long_names(folder / "m.keras")
)


# ------------------------------------------------------------------ 123: chunks of HDF5
def both(name, fill, says, code=6, *, computes=False):
    """Register an `.h5` model, and a `.keras` archive, that hold a hostile kernel beside good weights."""
    case(123, f"{name}, h5", code, says, computes=computes)(
        lambda folder: hdf5(folder / "m.h5", functional(dense()), lambda file: fill(file, "model_weights/d/d/kernel"))
    )
    case(123, f"{name}, keras", code, says, computes=computes)(
        lambda folder: keras(
            folder / "m.keras",
            functional(dense()),
            stored({"layers/dense/vars/1": files.BIAS}, lambda file: fill(file, "layers/dense/vars/0")),
        )
    )


def made_again(file, name, **options):
    """Write the kernel again, in chunks."""
    if name in file:
        del file[name]
    return file.create_dataset(name, (4, 3), "<f4", **options)


def twice_deflated(file, name, side=1024):
    """A kernel of 48 bytes in a chunk of 256 MiB, deflated twice: 1 KB of the file."""
    made_again(file, name)
    del file[name]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((side, side * 64))
    properties.set_deflate(9)
    properties.set_deflate(9)
    space = h5py.h5s.create_simple((4, 3), (h5py.h5s.UNLIMITED, h5py.h5s.UNLIMITED))
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, properties)
    packed = zlib.compress(zlib.compress(bytes(side * side * 64 * 4), 9), 9)
    dataset.write_direct_chunk((0, 0), packed)


def huge_chunk(file, name):
    """A kernel of 48 bytes in a chunk of 256 MiB, deflated once."""
    dataset = made_again(file, name, maxshape=(None, None), chunks=(1024, 65536), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 28), 9))


def many_chunks(file, name):
    """An array of 60,000 values each of which has a chunk of 1 MiB to itself."""
    if name in file:
        del file[name]
    dataset = file.create_dataset(
        name, (60_000, 1), "<f4", maxshape=(60_000, None), chunks=(1, 1 << 18), compression="gzip"
    )
    packed = zlib.compress(bytes(1 << 20), 9)
    for number in range(0, 60_000, 50):
        dataset.id.write_direct_chunk((number, 0), packed)


def endless_stream(file, name):
    """A chunk of 4 MiB whose deflated stream unpacks to 256 MiB: HDF5 unpacks it to its end."""
    dataset = made_again(file, name, maxshape=(None, None), chunks=(1024, 1024), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 28), 9))


def overlapping(file, name):
    """Two arrays of 1 MiB in the same bytes: the second one's address is changed to the first one's."""
    for number in range(2):
        file.create_dataset(f"more/{number}", data=np.full(1 << 18, number + 1, "<f4"))
    made_again(file, name)
    places = [file[f"more/{number}"].id.get_offset() for number in range(2)]
    file.attrs["places"] = places


def as_overlapping(path):
    """Point the second array at the first, and cut the file after it."""
    hdf5(path, functional(dense()), lambda file: overlapping(file, "model_weights/d/d/kernel"))
    with h5py.File(path) as file:
        first, second = (int(place) for place in file.attrs["places"])
    raw = path.read_bytes()
    raw = raw.replace(struct.pack("<Q", second), struct.pack("<Q", first))
    whole = len(raw)
    raw = raw[:second] if second > first else raw
    path.write_bytes(raw.replace(struct.pack("<Q", whole), struct.pack("<Q", len(raw))))
    return path


def honest(file, name):
    """Weights as other programs pack them: chunks beyond the edge, noise that deflate leaves as it is."""
    if name in file:
        del file[name]
    file.create_dataset(
        name, data=files.KERNEL, maxshape=(None, None), chunks=(3, 2), compression="gzip", shuffle=True, fletcher32=True
    )


both("a chunk of 256 MiB deflated twice", twice_deflated, "compressed twice by one filter: a bomb")
both("a chunk of 256 MiB", huge_chunk, r"declares 48 bytes in chunks of 268,435,456: a bomb")
both("60,000 chunks of 1 MiB", many_chunks, "a bomb")
both(
    "a stream of 256 MiB",
    endless_stream,
    r"unpacks to more than the 4,194,308 bytes that it has: a bomb",
    computes=True,
)
case(123, "two arrays in the same bytes", 6, "so they overlap: a bomb")(lambda folder: as_overlapping(folder / "m.h5"))
both("weights packed by other programs", honest, "", 0, computes=True)
