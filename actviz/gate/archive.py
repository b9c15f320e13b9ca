"""Zip archives (`.keras`, `.npz`): rules for their members, and reading stored members without a copy."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from actviz.errors import ActvizError, InputError, LimitError, ModelError, UnsafeError, escape
from actviz.gate.trust import NO_FLAG

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMUM_MEMBERS = 10_000
MAXIMUM_DIRECTORY = 64 << 20
CHECKED_AT_ONCE = 256 << 20
CHUNK = 1 << 20
MAXIMUM_UNPACKED = 64 << 30
MAXIMUM_RATIO = 100
SMALL = 1 << 20
LOCAL_HEADER_BYTES = 30
DIRECTORY_ENTRY_BYTES = 46
END_BYTES = 22
END_64_BYTES = 56 + 20  # the record of zip64 and its locator, between the directory and the end record
ENCRYPTED = 1
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError)
"""Exceptions of zipfile and zlib for damaged bytes; their messages are not shown."""


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """Rules for one use of archives: the error class of a damaged one, and the limits of a zip bomb.

    A member may decompress to `floor` bytes, or to `ratio` times its compressed size; all of them
    together to `unpacked` bytes. In messages, `remedy` is how to get a good file and `wanted` what
    was expected where a member is missing. `after` allows other data before the archive, as in a
    `.tflite` file with the files that its metadata name.
    """

    error: type[ActvizError]
    remedy: str
    wanted: str
    ratio: int
    floor: int
    unpacked: int
    after: bool = False


MODEL = ArchiveRules(
    ModelError,
    "copy or save the model again",
    "a .keras file was expected, save with model.save(...)",
    MAXIMUM_RATIO,
    SMALL,
    MAXIMUM_UNPACKED,
)
# Deflate reaches a ratio of about 1,030: zeros in a small array are legitimate, in a large one they are a bomb.
ARRAYS = ArchiveRules(
    InputError, "copy or save it again", "an .npz of numpy.savez was expected", 200, 16 << 20, 1 << 40
)


@dataclass(frozen=True)
class Archive:
    """A checked archive in an open file."""

    name: str
    file: BinaryIO
    members: Mapping[str, zipfile.ZipInfo]
    container: zipfile.ZipFile
    rules: ArchiveRules = MODEL

    def read(self, member: str, limit: int) -> bytes:
        """Return the content of a member of at most `limit` bytes.

        Raises
        ------
        ActvizError
            Of the class of the rules, when the member is missing or damaged.
        LimitError
            When it is larger than `limit`.
        """
        info = self.info(member)
        if info.file_size > limit:
            message = f"{self.name}: {member} unpacks to {info.file_size:,} bytes (limit {limit:,})."
            raise LimitError(message)
        try:
            with self.container.open(info) as stream:
                content = stream.read(limit + 1)
        except DAMAGED:
            raise self.rules.error(self.damaged(member)) from None
        if len(content) > limit:
            raise self.rules.error(self.damaged(member))
        return content

    def open(self, member: str) -> BinaryIO:
        """Return a seekable file of a member; a stored one is read from the archive without a copy."""
        info = self.info(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(self.read(member, MAXIMUM_RATIO * max(info.compress_size, SMALL)))
        self.file.seek(info.header_offset)
        header = self.file.read(LOCAL_HEADER_BYTES)
        if len(header) < LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
            raise self.rules.error(self.damaged(member))
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
        if info.file_size != info.compress_size or self.file.read(name_bytes) not in _spellings(info):
            raise self.rules.error(self.damaged(member))
        start = info.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        return io.BufferedReader(FileWindow(self.file, start, info.file_size), 1 << 16)

    def check(self, member: str) -> None:
        """Compare the checksum of a stored member, which `open` does not: zipfile checks only what it reads itself.

        2 GB per second, and the member is in the page cache afterwards (the digest of the weights takes longer).

        Raises
        ------
        ActvizError
            Of the class of the rules, when the content is not what was stored.
        """
        info = self.info(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return  # `open` decompresses the whole member and compares its checksum
        crc = 0
        with self.open(member) as stream:
            while chunk := stream.read(CHUNK):
                crc = zlib.crc32(chunk, crc)
        if crc != info.CRC:
            message = f"{self.name}: {escape(member, 80)} in the archive does not match its checksum, so that its content has changed; {self.rules.remedy}."
            raise self.rules.error(message)

    def info(self, member: str) -> zipfile.ZipInfo:
        """Return the directory entry of a member, which must exist."""
        if member not in self.members:
            message = f"{self.name}: the archive holds no {member}; {self.rules.wanted}."
            raise self.rules.error(message)
        return self.members[member]

    def damaged(self, member: str) -> str:
        """Return the message about a member that cannot be read."""
        return f"{self.name}: {escape(member, 80)} in the archive is damaged; {self.rules.remedy}."


class FileWindow(io.RawIOBase):
    """A range of an open file as a file with a position of its own.

    Before Python 3.13, the reader of `zipfile` for a stored member reads everything up to the target of a
    seek; weights are read at random offsets in hundreds of megabytes.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        """Open `size` bytes from offset `start` of `file`; closing the window leaves `file` open."""
        super().__init__()
        self._file = file
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the range."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position in the range and return it."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for a Buffer
        """Read bytes into a buffer and return their number."""
        count = max(0, min(len(buffer), self._size - self._position))
        self._file.seek(self._start + self._position)
        content = self._file.read(count)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def ends_as_archive(file: BinaryIO, size: int) -> bool:
    """Return True if a file ends as a zip archive does, whatever it begins with."""
    offset, record = _end_record(file, size)
    return len(record) == END_BYTES and size == offset + END_BYTES + int.from_bytes(record[-2:], "little")


def _end_record(file: BinaryIO, size: int) -> tuple[int, bytes]:
    """Return the offset and the bytes of the end record of an archive; no bytes where there is none."""
    tail_bytes = min(size, END_BYTES + (1 << 16))
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    file.seek(0)
    offset = tail.rfind(b"PK\x05\x06")
    return size - tail_bytes + offset, b"" if offset < 0 else tail[offset : offset + END_BYTES]


def check_member_count(file: BinaryIO, name: str) -> None:
    """Refuse an archive of too many members before its directory is parsed.

    zipfile creates an object for every entry first (400,003 members: 19 s, 884 MB), for all entries in the
    directory and not only for the number in the end record, so the entries are counted as well.

    Raises
    ------
    LimitError
        When it declares, or has, more members than are read.
    """
    size = file.seek(0, io.SEEK_END)
    offset, record = _end_record(file, size)
    if len(record) < END_BYTES:
        return
    declared, directory_bytes = struct.unpack("<HI", record[10:16])
    file.seek(max(0, offset - END_64_BYTES))
    extended = file.read(END_64_BYTES)
    if extended.startswith(b"PK\x06\x06") and extended[56:60] == b"PK\x06\x07":
        declared, directory_bytes = struct.unpack("<QQ", extended[32:48])
        offset -= END_64_BYTES
    if directory_bytes > offset:
        return  # zipfile raises an error
    if directory_bytes > MAXIMUM_DIRECTORY:
        message = f"{name}: the directory of the archive has {directory_bytes:,} bytes (limit {MAXIMUM_DIRECTORY:,})."
        raise LimitError(message)
    if declared <= MAXIMUM_MEMBERS:
        file.seek(offset - directory_bytes)
        declared = max(declared, _entries_in(file.read(directory_bytes)))
    file.seek(0)
    if declared > MAXIMUM_MEMBERS:
        message = f"{name}: more than {MAXIMUM_MEMBERS:,} members in the archive; at most that many are read."
        raise LimitError(message)


def _entries_in(directory: bytes) -> int:
    """Return the number of entries of a directory, at most one more than the limit."""
    offset = count = 0
    while directory.startswith(b"PK\x01\x02", offset) and count <= MAXIMUM_MEMBERS:
        offset += DIRECTORY_ENTRY_BYTES + sum(
            struct.unpack("<HHH", directory[offset + 28 : offset + 34].ljust(6, b"\0"))
        )
        count += 1
    return count


def open_archive(file: BinaryIO, name: str, rules: ArchiveRules = MODEL) -> Archive:
    """Check the directory of an archive and return it.

    Raises
    ------
    UnsafeError
        For members that leave the archive, links, duplicates and encryption.
    LimitError
        For too many members, and for sums and ratios of a zip bomb.
    ActvizError
        Of the class of the rules, when it is not a zip archive.
    """
    check_member_count(file, name)
    try:
        container = zipfile.ZipFile(file)
        entries = container.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, struct.error):
        message = f"{name}: this zip archive is truncated or damaged; {rules.remedy}."
        raise rules.error(message) from None
    members = {entry.filename: entry for entry in entries}
    if len(members) != len(entries):
        message = f"{name}: refused: the archive holds two members of one name, so readers disagree on what is in it; {NO_FLAG}."
        raise UnsafeError(message)
    for entry in entries:
        _check_member(entry, name, rules)
    size = file.seek(0, io.SEEK_END)
    before = bool(entries) and not rules.after and all(entry.header_offset for entry in entries)
    if before or not ends_as_archive(file, size):
        message = f"{name}: refused: there are other data before or after the archive in this file, so readers disagree on what is in it; {NO_FLAG}."
        raise UnsafeError(message)
    if sum(entry.compress_size for entry in entries) > size:
        message = f"{name}: the members of the archive take more bytes than it has, so they overlap: a zip bomb."
        raise LimitError(message)
    total = sum(entry.file_size for entry in entries)
    if total > rules.unpacked:
        message = f"{name}: the archive unpacks to {total:,} bytes (limit {rules.unpacked:,})."
        raise LimitError(message)
    return Archive(name, file, members, container, rules)


def array_keys(archive: Archive, name: str) -> tuple[str, ...]:
    """Return the keys of the arrays in an `.npz` archive.

    Raises
    ------
    InputError
        When there is none.
    """
    keys = tuple(member.removesuffix(".npy") for member in archive.members if member.endswith(".npy"))
    if not keys:
        message = f"{name}: a zip archive without a .npy array; an .npz from numpy.savez was expected."
        raise InputError(message)
    return keys


def array_info(archive: Archive, key: str, label: str) -> zipfile.ZipInfo:
    """Return the directory entry of an array in an `.npz` archive.

    Raises
    ------
    InputError
        When NumPy would not compress it that way.
    """
    info = archive.info(f"{key}.npy")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        message = f"{label}: compressed in an unusual way; save it again with numpy.savez."
        raise InputError(message)
    return info


def _spellings(entry: zipfile.ZipInfo) -> tuple[bytes, ...]:
    """Return the encodings of a member's name that its local header may have."""
    return tuple(entry.orig_filename.encode(coding, "replace") for coding in ("utf-8", "cp437"))


def _check_member(entry: zipfile.ZipInfo, name: str, rules: ArchiveRules) -> None:
    path = entry.orig_filename.replace("\\", "/")
    shown = escape(entry.orig_filename, 80)
    drive = len(path) > 1 and path[1] == ":"
    if path.startswith("/") or ".." in path.split("/") or drive or "\0" in path:
        message = f'{name}: refused: the archive member "{shown}" points outside the archive; {NO_FLAG}.'
        raise UnsafeError(message)
    if stat.S_ISLNK(entry.external_attr >> 16):
        message = f'{name}: refused: the archive member "{shown}" is a link; {NO_FLAG}.'
        raise UnsafeError(message)
    if entry.flag_bits & ENCRYPTED:
        message = f'{name}: refused: the archive member "{shown}" is encrypted; {NO_FLAG}.'
        raise UnsafeError(message)
    if entry.file_size > max(rules.floor, rules.ratio * max(entry.compress_size, 1)):
        ratio = entry.file_size // max(entry.compress_size, 1)
        message = f'{name}: the archive member "{shown}" grows {ratio:,} times when unpacked (limit {rules.ratio}): a zip bomb.'
        raise LimitError(message)
