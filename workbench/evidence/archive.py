"""A ZIP file of which every byte is accounted for, written and read strictly.

Files are stored, never compressed: what the hashes cover is what lies in the file, nothing can unfold to more than it
weighs, and any unpacking program reads it. Everything else in the file (headers, table of contents) follows from the
names and contents alone, so the reader works out what it must be and compares. No folders, links, comments, extra
fields, encryption or bytes in between; no name that some system could take for another.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from workbench.errors import MalformedError

__all__ = ["LARGEST_ARCHIVE", "ArchiveError", "NameProblemError", "is_safe_name", "read_archive", "write_archive"]

LARGEST_ARCHIVE: Final = 2**31 - 1  # bytes; ZIP without its 64-bit extension
_MOST_FILES: Final = 10_000
_VERSION: Final = 20
_MADE_BY: Final = (3 << 8) | _VERSION  # Unix, so that the permissions below count
_DATE: Final = (1 << 5) | 1  # 1 January 1980, the format's beginning: archives of equal contents are equal
_PERMISSIONS: Final = 0o100644 << 16
_LOCAL: Final = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END: Final = struct.Struct("<4sHHHHLLH")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,127}")
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # never files on Windows


class ArchiveError(MalformedError):
    """The file is not an archive in the one form that is accepted. Nothing inside was used."""


class NameProblemError(ArchiveError):
    """The archive holds a file under a name that could be taken for another, or lead out of its folder."""


def is_safe_name(name: str) -> bool:
    """Whether a name means one file everywhere: plain ASCII segments, none beginning with a dot.

    >>> is_safe_name("payload/report.html"), is_safe_name("../report.html"), is_safe_name("payload//a")
    (True, False, False)
    """
    return len(name) <= 255 and all(
        _SEGMENT.fullmatch(part) and not part.endswith(".") and not _DEVICE.fullmatch(part) for part in name.split("/")
    )


def _local_header(name: bytes, crc: int, size: int) -> bytes:
    return _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0) + name


def _contents(files: Iterable[tuple[bytes, int, int, int]], start: int) -> bytes:
    """The table of contents for (name, checksum, size, place) of each file, and the end of the archive."""
    rows = [
        _CENTRAL.pack(
            b"PK\x01\x02", _MADE_BY, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(name), 0, 0, 0, 0, _PERMISSIONS,
            place,
        )
        + name
        for name, crc, size, place in files
    ]  # fmt: skip
    table = b"".join(rows)
    return table + _END.pack(b"PK\x05\x06", 0, 0, len(rows), len(rows), len(table), start, 0)


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of ``files`` (name to content), in the order given: the same bytes for the same files.

    Raises ``ArchiveError`` for names or sizes that could not be read back.

    >>> read_archive(write_archive({"a.txt": b"hello"}))
    ({'a.txt': b'hello'}, [])
    """
    pieces, listed, place = [], [], 0
    _check_names(files)
    if not files:
        raise ArchiveError("there are no files to put into an archive")
    overhead = _LOCAL.size + _CENTRAL.size
    if sum(len(content) + 2 * len(name) + overhead for name, content in files.items()) + _END.size > LARGEST_ARCHIVE:
        raise ArchiveError(f"the files do not fit into one archive of {LARGEST_ARCHIVE >> 20} MiB: leave data out")
    for name, content in files.items():
        encoded, crc = name.encode("ascii"), zlib.crc32(content)
        header = _local_header(encoded, crc, len(content))
        listed.append((encoded, crc, len(content), place))
        pieces += [header, content]
        place += len(header) + len(content)
    return b"".join([*pieces, _contents(listed, place)])


def read_archive(data: bytes) -> tuple[dict[str, bytes], list[str]]:
    """The files of an archive, and the names of those whose stored checksum is not that of their content.

    Raises ``ArchiveError``, or its kind ``NameProblemError``.
    """
    if len(data) > LARGEST_ARCHIVE:
        raise ArchiveError(f"it is larger than {LARGEST_ARCHIVE >> 20} MiB")
    if data.startswith(b"PK\x05\x06"):
        raise ArchiveError("it holds no files")
    if not data.startswith(b"PK\x03\x04"):
        if b"PK\x05\x06" in data[-66_000:]:
            raise ArchiveError("there are bytes before its first entry")
        raise ArchiveError("it is not a ZIP file, or its beginning is missing")
    files: dict[str, bytes] = {}
    listed: list[tuple[bytes, int, int, int]] = []
    damaged: list[str] = []
    place = 0
    while data[place : place + 4] == b"PK\x03\x04":
        name, content, crc, end = _read_entry(data, place)
        if name in files:
            raise ArchiveError(f"it holds the entry {name!r} twice")
        if zlib.crc32(content) != crc:
            damaged.append(name)
        files[name] = content
        listed.append((name.encode(), crc, len(content), place))
        place = end
    _check_names(files)
    if data[place:] != _contents(listed, place):
        raise ArchiveError(_difference(data[place:], listed))
    return files, damaged


def _read_entry(data: bytes, place: int) -> tuple[str, bytes, int, int]:
    """Name, content and stored checksum of the entry at ``place``, and where it ends."""
    if len(data) < place + _LOCAL.size:
        raise ArchiveError("it is cut off")
    _, version, flags, method, _, _, crc, size, full, length, extra = _LOCAL.unpack_from(data, place)
    start = place + _LOCAL.size + length
    raw = data[place + _LOCAL.size : start]
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError:
        raise NameProblemError(f"an entry has the name {raw.decode('utf-8', errors='replace')[:80]!a}") from None
    if not is_safe_name(name):
        raise NameProblemError(f"an entry has the name {name[:80]!a}")
    if flags & 1:
        raise ArchiveError(f"the entry {name!r} is encrypted")
    if method:
        raise ArchiveError(f"the entry {name!r} is compressed, and bundles store files as they are")
    if version != _VERSION or flags or extra or size != full:
        raise ArchiveError(f"the header of the entry {name!r} is not of the only form that is accepted")
    if start + size > len(data):
        raise ArchiveError(f"it is cut off in the entry {name!r}")
    if data[place:start] != _local_header(raw, crc, size):
        raise ArchiveError(f"the header of the entry {name!r} is not of the only form that is accepted")
    return name, data[start : start + size], crc, start + size


def _check_names(names: Iterable[str]) -> None:
    """Names that stay apart on every system, and no file where another's folder must be."""
    seen: dict[str, str] = {}
    names = list(names)
    if len(names) > _MOST_FILES:
        raise ArchiveError(f"it holds more than {_MOST_FILES} entries")
    for name in names:
        if not is_safe_name(name):
            raise NameProblemError(f"an entry has the name {name[:80]!a}")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise NameProblemError(f"the entries {other!r} and {name!r} differ only in upper and lower case")
    for name in names:
        parts = name.casefold().split("/")
        for depth in range(1, len(parts)):
            if (above := "/".join(parts[:depth])) in seen:
                raise NameProblemError(f"the entry {seen[above]!r} stands where the folder of {name!r} must be")


def _difference(found: bytes, listed: list[tuple[bytes, int, int, int]]) -> str:
    """In words, how the end of the file differs from the table of contents that its entries ask for."""
    place = 0
    for name, *_ in listed:
        row = found[place : place + _CENTRAL.size]
        if len(row) < _CENTRAL.size or not row.startswith(b"PK\x01\x02"):
            return "it is cut off in its table of contents" if place else "bytes lie between its entries and their list"
        attributes = _CENTRAL.unpack(row)[15]
        if (attributes >> 16) & 0o170000 == 0o120000:
            return f"the entry {name.decode()!r} is a symbolic link"
        place += _CENTRAL.size + len(name)
    if not found[place:].startswith(b"PK\x05\x06"):
        return "its table of contents lists entries that are not there, or under other names"
    if len(found) > place + _END.size:
        return "bytes follow its end"
    return "its table of contents does not agree with its entries"
