"""Files that people take for an archive: each named by its first bytes, with the way on."""

from __future__ import annotations

from typing import Final

from pattern_stream.errors import ArchiveError, TruncatedArchive, UnsupportedContainer

HEAD_BYTES: Final = 4096
"""How much of a file is looked at."""

_UNPACK: Final = "unpack it first, for example: {} -dc FILE | pattern-stream inspect -"
_DECRYPT: Final = "decrypt it first: age -d -i KEY FILE | pattern-stream inspect -"
_MAGICS: Final = (
    (b"SQLite format 3\x00", "an SQLite database", "an archive is made from it: pattern-stream export --db FILE"),
    (b"\x1f\x8b", "a gzip file inside another", _UNPACK.format("gzip")),
    (b"\x28\xb5\x2f\xfd", "a zstd file inside another", _UNPACK.format("zstd")),
    (b"\xfd7zXZ\x00", "an xz file", _UNPACK.format("xz")),
    (b"BZh", "a bzip2 file", _UNPACK.format("bzip2")),
    (b"\x04\x22\x4d\x18", "an lz4 file", _UNPACK.format("lz4")),
    (b"PK\x03\x04", "a zip file", "unpack it first, and name the archive inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file", "unpack it first, and name the archive inside"),
    (b"age-encryption.org/", "a file encrypted with age inside another", _DECRYPT),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "a file encrypted with age inside another", _DECRYPT),
    (b"-----BEGIN ", "a text file of keys or messages", None),
)
_TAR: Final = (257, b"ustar")
_PAGES: Final = (b"<!doctype html", b"<html")
_LETTA: Final = (b'"agents"', b'"agent_type"', b'\\"agents\\"', b'"core_memory"')


def stranger(head: bytes) -> ArchiveError | None:
    """The error that names a file which is no archive, by its first HEAD_BYTES bytes; None where it is not known."""
    if not head:
        hint = "did the export before it fail? Its exit code and its messages say so"
        return TruncatedArchive("archive ends after 0 bytes, inside its header: it is an empty file", hint=hint)
    named = _named(head)
    return None if named is None else UnsupportedContainer(f"{named[0]}, expected a CAR v1 archive", hint=named[1])


def _named(head: bytes) -> tuple[str, str | None] | None:
    for magic, name, hint in _MAGICS:
        if head.startswith(magic):
            return name, hint
    if head.startswith(_TAR[1], _TAR[0]):
        return "a tar file", "unpack it first, and name the archive inside"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:14].lower().startswith(_PAGES):
        return "a web page", "the download gave a page in place of the file: was it behind a login?"
    if not text.startswith((b"{", b"[", b'"')) or b"\0" in head:
        return None
    if any(word in head for word in _LETTA):
        return "a Letta agent file (JSON)", "this release takes in archives of Pattern, not agent files of Letta"
    return "a JSON file", "an archive is binary; `dump` makes JSON of one, which is no archive any more"
