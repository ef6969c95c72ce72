"""One tar header block, POSIX.1-1988 ustar, in the single form Keyfold writes.

Everything but name and size is fixed, so two archives of the same objects are the same bytes, and a reader can
refuse any header that is not exactly what `header` would have written: no links, devices, owners, dates or extensions.
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)

_NAME_BYTES = 100
# mode, uid, gid; then the size; mtime; then the checksum; regular file, no link, magic and version, nothing.
_OWNER = b"0000600\0" + b"0000000\0" * 2
_TIME = b"00000000000\0"
_REST = (b"0" + bytes(100) + b"ustar\00000").ljust(BLOCK - 156, b"\0")
# Of what is the same in every header; the checksum itself counts as spaces.
_FIXED_SUM = sum(_OWNER + _TIME + b" " * 8 + _REST)


def header(name: str, size: int) -> bytes:
    """512 bytes for a regular file, mode 0600, owner 0:0, time 0. ValueError if name or size do not fit."""
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= _NAME_BYTES or not 0 <= size < 8**11:
        raise ValueError(f"does not fit into a tar header: {name!r}, {size} bytes")
    length = b"%011o\0" % size
    checksum = b"%06o\0 " % (_FIXED_SUM + sum(encoded) + sum(length))
    return b"".join((encoded.ljust(_NAME_BYTES, b"\0"), _OWNER, length, _TIME, checksum, _REST))


def parse(block: bytes) -> tuple[str, int]:
    """(name, size) of a header block; ValueError unless `header` would have written these very bytes."""
    name = block[:_NAME_BYTES].rstrip(b"\0").decode("ascii")
    size = int(block[124:135], 8)
    if header(name, size) != block:
        raise ValueError(f"not a header that Keyfold writes, at {name!r}")
    return name, size


def padding(size: int) -> bytes:
    """The zeros after `size` bytes of content."""
    return bytes(-size % BLOCK)
