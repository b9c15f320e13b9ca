"""Rules for HDF5 files: hard links only, plain numbers stored inside the file, no decompression bombs."""

from __future__ import annotations

import math
import os
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from actviz.errors import LimitError, ModelError, UnsafeError, escape
from actviz.gate.trust import NO_FLAG
from actviz.system.resource_limits import parse_time_limited

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

MAXIMUM_LINKS = 200_000
MAXIMUM_DEPTH = 200
BFLOAT16_BYTES = 2
MAXIMUM_RATIO = 100
SMALL = 1 << 20
MAXIMUM_CHUNK = 16 << 20
CHECKSUM_BYTES = 4
DEFLATE = 1
PLAIN_FILTERS = frozenset({DEFLATE, 2, 3})  # shuffle, fletcher32
HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)


def open_hdf5(file: BinaryIO, name: str, size: int) -> h5py.File:
    """Open an HDF5 file from an open file and check every object in it.

    Raises
    ------
    UnsafeError
        For links, external or virtual storage.
    LimitError
        For datasets that declare far more than is stored, for too many objects, and for
        groups that contain themselves or are nested too deeply.
    ModelError
        When it is damaged, or holds anything but plain numbers.
    """
    # HDF5 looks for unknown filters in plug-in folders and loads them as native code; "::" disables plug-ins.
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
    import h5py

    try:
        opened = h5py.File(file, "r")
    except HDF5_ERRORS:
        message = f"{name}: this HDF5 file ({size:,} bytes) is truncated or damaged; copy or save the model again."
        raise ModelError(message) from None
    try:
        _check_objects(opened, name, size)
    except HDF5_ERRORS:
        message = f"{name}: this HDF5 file is damaged inside; copy or save the model again."
        raise ModelError(message) from None
    return opened


def _check_objects(opened: h5py.File, name: str, size: int) -> None:
    """Check every object through the low-level interface of h5py (10 us per object)."""
    from h5py import h5d, h5g, h5l, h5o

    root = h5g.open(opened.id, b"/")
    seen = {_address(root)}
    todo: list[tuple[str, Any]] = [("/", root)]
    declared = stored = links = 0
    while todo:
        path, group = todo.pop()
        for link in group:
            info = group.links.get_info(link)
            shown = path + escape(link.decode("utf-8", "replace"), 120)
            if info.type != h5l.TYPE_HARD:
                message = f'{name}: refused: "{escape(shown)}" in the HDF5 file is a link to another object or file; {NO_FLAG}.'
                raise UnsafeError(message)
            links += 1
            if links > MAXIMUM_LINKS:
                message = f"{name}: more than {MAXIMUM_LINKS:,} objects in the HDF5 file; only smaller ones are read."
                raise LimitError(message)
            child = h5o.open(group, link)
            key = _address(child)
            if isinstance(child, h5g.GroupID):
                _check_group(f"{shown}/", name, again=key in seen)
                todo.append((f"{shown}/", child))
            elif isinstance(child, h5d.DatasetID):
                if key not in seen:
                    declared += _check_dataset(child, name, escape(shown))
                    stored += child.get_storage_size()
            else:
                message = f'{name}: "{escape(shown)}" in the HDF5 file is neither a group nor an array of numbers.'
                raise ModelError(message)
            seen.add(key)
    if stored > size:
        message = (
            f"{name}: the arrays of the HDF5 file take {stored:,} bytes of a file of {size:,}, so they overlap: a bomb."
        )
        raise LimitError(message)
    if declared > max(MAXIMUM_RATIO * size, 64 * SMALL):
        message = f"{name}: the HDF5 file declares {declared:,} bytes of arrays in a file of {size:,} bytes: a bomb."
        raise LimitError(message)


def _address(item: Any) -> tuple[int, Any]:
    from h5py import h5o

    info = h5o.get_info(item)
    return info.fileno, info.addr


def _check_group(path: str, name: str, *, again: bool) -> None:
    """Refuse groups that two paths lead to, as in a cycle, and groups nested deeper than Keras writes."""
    if again:
        message = f'{name}: two paths in the HDF5 file lead to the group "{escape(path)}", so that it has no end; save the model again.'
        raise LimitError(message)
    if path.count("/") > MAXIMUM_DEPTH:
        message = f"{name}: the groups of the HDF5 file are nested too deeply (limit {MAXIMUM_DEPTH}); the file is damaged or hostile."
        raise LimitError(message)


def _check_dataset(dataset: Any, name: str, shown: str) -> int:
    """Check a dataset and return the bytes that reading it takes."""
    from h5py import h5d, h5t

    properties = dataset.get_create_plist()
    if properties.get_external_count():
        message = f'{name}: refused: "{shown}" reads another file (HDF5 external storage); {NO_FLAG}.'
        raise UnsafeError(message)
    if properties.get_layout() == h5d.VIRTUAL:
        message = f'{name}: refused: "{shown}" reads other files (HDF5 virtual dataset); {NO_FLAG}.'
        raise UnsafeError(message)
    kind = dataset.get_type()
    declared = int(math.prod(dataset.shape or ()) * kind.get_size())
    if kind.get_class() not in {h5t.INTEGER, h5t.FLOAT, h5t.ENUM, h5t.STRING, h5t.OPAQUE}:
        message = f'{name}: "{shown}" holds values that are not plain numbers; only plain arrays are read.'
        raise ModelError(message)
    filters = _filters(properties)
    if not PLAIN_FILTERS.issuperset(filters):
        message = f'{name}: "{shown}" is compressed by a filter that needs a plug-in; save the model without it.'
        raise ModelError(message)
    if len(set(filters)) < len(filters):
        message = f'{name}: "{shown}" is compressed twice by one filter: a bomb.'
        raise LimitError(message)
    if properties.get_layout() == h5d.CHUNKED:
        declared = _check_chunks(dataset, properties.get_chunk(), declared, name, shown)
    if declared > SMALL and declared > MAXIMUM_RATIO * max(dataset.get_storage_size(), 1):
        message = f'{name}: "{shown}" declares {declared:,} bytes but stores {dataset.get_storage_size():,}: a bomb.'
        raise LimitError(message)
    return declared


def _filters(properties: Any) -> list[int]:
    """Return the codes of the filters of a dataset, in the order in which they compress."""
    return [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]


def _check_chunks(dataset: Any, chunk: tuple[int, ...], declared: int, name: str, shown: str) -> int:
    """Return the bytes that the chunks of a dataset decompress to; HDF5 decompresses each one completely."""
    chunk_bytes = int(math.prod(chunk) * dataset.get_type().get_size())
    if chunk_bytes > max(MAXIMUM_CHUNK, declared):
        message = f'{name}: "{shown}" declares {declared:,} bytes in chunks of {chunk_bytes:,}: a bomb.'
        raise LimitError(message)
    return int(chunk_bytes * math.prod(-(-axis // size) for axis, size in zip(dataset.shape, chunk, strict=True)))


def _check_streams(dataset: h5py.Dataset, name: str) -> None:
    """Refuse a deflated chunk that decompresses to more than a chunk has: HDF5 reads to the end of the stream."""
    properties = dataset.id.get_create_plist()
    filters = _filters(properties)
    if DEFLATE not in filters:
        return
    limit = math.prod(properties.get_chunk()) * dataset.id.get_type().get_size() + CHECKSUM_BYTES
    for number in range(dataset.id.get_num_chunks()):
        skipped_filters, packed = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(number).chunk_offset)
        if skipped_filters >> filters.index(DEFLATE) & 1:
            continue  # stored, because deflate would have made it larger
        stream = zlib.decompressobj()
        size = 0
        while not stream.eof and size <= limit:
            part = stream.decompress(packed, SMALL)
            packed = stream.unconsumed_tail
            size += len(part)
            if not part and not packed:
                break  # the stream has no end, which HDF5 reports
        if size > limit:
            message = f'{name}: a chunk of "{escape(str(dataset.name), 120)}" unpacks to more than the {limit:,} bytes that it has: a bomb.'
            raise LimitError(message)


def read_dataset(dataset: h5py.Dataset, name: str) -> NDArray[np.generic]:
    """Return the array of a checked dataset."""
    try:
        with parse_time_limited():
            _check_streams(dataset, name)
            values: NDArray[np.generic] = dataset[()]
        return _typed(values, dataset, name)
    except (*HDF5_ERRORS, zlib.error):
        message = (
            f'{name}: the weights "{escape(str(dataset.name), 120)}" cannot be read; copy or save the model again.'
        )
        raise ModelError(message) from None


def _typed(values: NDArray[np.generic], dataset: h5py.Dataset, name: str) -> NDArray[np.generic]:
    """Return raw values with their dtype: HDF5 has no bfloat16 and float8, Keras writes the name as an attribute."""
    if values.dtype.kind != "V":
        return values
    dtype = dataset.attrs.get("dtype", "bfloat16" if values.dtype.itemsize == BFLOAT16_BYTES else None)
    if dtype not in {"bfloat16", "float8_e4m3fn", "float8_e5m2"}:
        message = f'{name}: the weights "{escape(str(dataset.name), 120)}" have an unknown dtype; save the model again.'
        raise ModelError(message)
    import ml_dtypes

    return values.view(getattr(ml_dtypes, dtype))
