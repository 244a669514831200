"""The container of a model file: a frame, a header, arrays. It holds numbers and nothing that could run.

    bytes 0-7      89 50 52 4D 0D 0A 1A 0A    (as PNG does it: told from text, and damaged by text-mode transfer)
    bytes 8-11     format, unsigned           little-endian, as all that follows
    bytes 12-15    length of the header in bytes, unsigned
    bytes 16-23    length of the whole file in bytes, unsigned
    header         canonical JSON (RFC 8785), then zero bytes up to a multiple of 8
    arrays         one after the other, in the order of ``ARRAYS``; the header's ``arrays`` says how long each is

A new format gets the next number, a reader beside the old ones, and a kept file in the tests; the old readers stay.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.errors import MalformedError
from workbench.evidence.strict import read_object
from workbench.files import canonical_json

__all__ = ["ARRAYS", "FORMAT_VERSION", "MAGIC", "MAXIMUM_BYTES", "decode", "encode"]

MAGIC: Final = b"\x89PRM\r\n\x1a\n"
FORMAT_VERSION: Final = 1
MAXIMUM_BYTES: Final = 1 << 30
ARRAYS: Final[dict[str, np.dtype[Any]]] = {
    "value": np.dtype("<f8"),
    "cover": np.dtype("<f8"),
    "calibration_x": np.dtype("<f8"),
    "calibration_y": np.dtype("<f8"),
    "feature": np.dtype("u1"),
    "missing_left": np.dtype("u1"),
}

_FRAME: Final = struct.Struct("<8sIIQ")
_MAXIMUM_HEADER: Final = 1 << 20
# What is found under a model's name when somebody puts another kind of model there. None of it is opened.
_STRANGERS: Final = {
    b"PK\x03\x04": "a ZIP archive (as skops and PyTorch write)",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file (as joblib writes)",
    b"\x78": "a zlib stream (as joblib writes)",
    b"\x80": "a pickle",
}


def encode(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The bytes of a model file; the same for the same content, always."""
    lengths = {name: len(arrays[name]) for name in ARRAYS}
    written = canonical_json({**header, "arrays": lengths})
    parts = [written, bytes(-len(written) % 8)]
    parts += [np.ascontiguousarray(arrays[name], dtype=kind).tobytes() for name, kind in ARRAYS.items()]
    body = b"".join(parts)
    return _FRAME.pack(MAGIC, FORMAT_VERSION, len(written), _FRAME.size + len(body)) + body


def decode(data: bytes, *, what: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The header (without ``arrays``) and the arrays of a model file; ``what`` names it in messages.

    Raises ``MalformedError`` unless every byte is accounted for.
    """
    if len(data) < _FRAME.size or data[:8] != MAGIC:
        stranger = next((name for start, name in _STRANGERS.items() if data.startswith(start)), None)
        but = f" but {stranger}, which is never opened" if stranger else ""
        raise MalformedError(f"{what} is not a model file{but}")
    _, version, header_length, total = _FRAME.unpack_from(data)
    if version != FORMAT_VERSION:
        raise MalformedError(f"{what} is of format {version}, and this version reads format {FORMAT_VERSION}")
    if total != len(data):
        raise MalformedError(f"{what} has {len(data):,} bytes and says it has {total:,}: it was cut short or added to")
    if header_length > min(_MAXIMUM_HEADER, len(data) - _FRAME.size):
        raise MalformedError(f"{what} says that its header has {header_length:,} bytes, more than it may")
    end = _FRAME.size + header_length
    header = read_object(data[_FRAME.size : end], what=f"the header of {what}")
    start = end + -header_length % 8
    if any(data[end:start]):
        raise MalformedError(f"{what} holds something between its header and its arrays")
    lengths = header.pop("arrays", None)
    if not isinstance(lengths, dict) or set(lengths) != set(ARRAYS):
        raise MalformedError(f"{what} does not have exactly the arrays {', '.join(ARRAYS)}")
    arrays = {}
    for name, kind in ARRAYS.items():
        length = lengths[name]
        if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= MAXIMUM_BYTES:
            raise MalformedError(f"{what} says that its array {name} has {str(length)[:40]} items")
        if start + length * kind.itemsize > len(data):
            raise MalformedError(f"{what} ends within its array {name}")
        arrays[name] = np.frombuffer(data, dtype=kind, count=length, offset=start)
        start += length * kind.itemsize
    if start != len(data):
        raise MalformedError(f"{what} has {len(data) - start:,} bytes after its last array")
    return header, arrays
