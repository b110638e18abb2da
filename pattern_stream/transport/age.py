"""age both ways: encrypted for recipients or with a passphrase, and decrypted; armor is read.

Keys of recipients are `pyrage`'s business. It holds a whole file in memory where a passphrase is used, so that form is
made here, of the parts that `cryptography` has. Source: the age format, version 1 (C2SP, age.md).
"""

from __future__ import annotations

import binascii
import re
import secrets
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any, Final

from pattern_stream.errors import (
    ArchiveError,
    CorruptStream,
    HostileShape,
    MissingExtra,
    TrailingBytes,
    TruncatedArchive,
    WrongKey,
)
from pattern_stream.transport.filters import PulledFilter
from pattern_stream.transport.magics import AGE_MAGIC, ARMOR_BEGIN

Recipient = Any
"""A recipient of `pyrage`, which has no types: `x25519.Recipient` or `ssh.Recipient`."""

Identity = Any
"""An identity of `pyrage`: `x25519.Identity` or `ssh.Identity`."""

_ARMOR_END: Final = b"-----END AGE ENCRYPTED FILE-----"

MOST_HEAD_BYTES: Final = 256 * 1024
"""Of a head: one for hundreds of recipients."""

WORK_FACTOR: Final = 18
MOST_WORK_FACTOR: Final = 20
"""Base 2 logarithms of scrypt's cost: 256 MiB of memory, as age itself takes, and 1 GiB."""

_HEAD_END: Final = re.compile(rb"\n--- ([A-Za-z0-9+/]{43})\n")
_STANZA: Final = re.compile(rb"^-> ([!-~]+)", re.MULTILINE)
_SCRYPT: Final = re.compile(
    re.escape(AGE_MAGIC) + rb"-> scrypt ([A-Za-z0-9+/]{22}) ([1-9][0-9]{0,2})\n([A-Za-z0-9+/]{43})\n---"
)
_SCRYPT_LABEL: Final = b"age-encryption.org/v1/scrypt"
_CHUNK_BYTES: Final = 64 * 1024
_TAG_BYTES: Final = 16
_NONCE_BYTES: Final = 16
_ARMOR_LINE: Final = 64


def head_of(data: bytes) -> tuple[bytes, list[str]] | None:
    """The head of an encrypted file, and the kinds of keys that it is encrypted to; None where more must come.

    Raises:  CorruptStream.
    """
    found = _HEAD_END.search(data, 0, MOST_HEAD_BYTES)
    if found is None:
        if len(data) >= MOST_HEAD_BYTES:
            raise _fault(CorruptStream, f"the head of the age file does not end within {MOST_HEAD_BYTES} bytes")
        return None
    head = data[: found.end()]
    kinds = [kind.decode() for kind in _STANZA.findall(head)]
    return head, [kind for kind in kinds if not kind.endswith("-grease")]


# --- for recipients ----------------------------------------------------------------------------------------------


class AgePacker:
    """Bytes in, a file encrypted for each of the recipients out. Memory: one piece."""

    best_ratio: int = 1

    def __init__(self, recipients: list[Recipient]) -> None:
        pyrage = age_library()
        self._filter = PulledFilter(lambda reader, writer: pyrage.encrypt_io(reader, writer, recipients))

    def pack(self, data: bytes, /) -> bytes:
        """Encrypt some more."""
        return self._filter.feed(data)

    def finish(self) -> bytes:
        """The last chunk."""
        return self._filter.finish()

    def close(self) -> None:
        """End the thread."""
        self._filter.close()


class Unage:
    """A file encrypted for recipients in, its content out. Raises WrongKey, CorruptStream.

    What comes out before a cut or damage was authentic: the receiver must be whole or nothing.
    """

    def __init__(self, identities: list[Identity], stanzas: list[str]) -> None:
        self._pyrage = age_library()
        self._stanzas = stanzas
        self._count = 0
        self._filter = PulledFilter(lambda reader, writer: self._pyrage.decrypt_io(reader, writer, identities))

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Decrypt some more input."""
        if self._filter.ended:
            raise _fault(TrailingBytes, f"bytes follow the end of the age file, after {self._count} bytes")
        self._count += len(data)
        yield from self._decrypted(data)

    def finish(self) -> Iterator[bytes]:
        """The input has ended: what is left."""
        yield from self._decrypted(None)

    def close(self) -> None:
        """End the thread."""
        self._filter.close()

    def _decrypted(self, data: bytes | None) -> Iterator[bytes]:
        try:
            content = self._filter.finish() if data is None else self._filter.feed(data)
        except self._pyrage.DecryptError as error:
            kinds = ", ".join(sorted(set(self._stanzas))) or "nobody"
            message = f"no identity that was given opens this file, which is encrypted to: {kinds} ({error})"
            raise WrongKey(message, hint="name the right one with --identity FILE").at(stage="unwrap") from error
        except OSError as error:
            what = f"age data is damaged or cut: {error}, within {self._count} bytes"
            raise _fault(CorruptStream, what) from error
        if content:
            yield content


def age_library() -> Any:
    """The module `pyrage`. Raises MissingExtra."""
    try:
        import pyrage
    except ModuleNotFoundError as error:
        raise MissingExtra("age needs the package pyrage", "crypt") from error
    return pyrage


# --- with a passphrase -------------------------------------------------------------------------------------------


class PassphrasePacker:
    """Bytes in, a file encrypted with a passphrase out. Memory: one piece, and scrypt's own 256 MiB at the start."""

    best_ratio: int = 1

    def __init__(self, passphrase: str, work_factor: int = WORK_FACTOR) -> None:
        file_key, salt, nonce = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(_NONCE_BYTES)
        crypto = _Primitives()
        wrapped = crypto.cipher(crypto.stretched(passphrase, salt, work_factor)).encrypt(bytes(12), file_key, None)
        head = AGE_MAGIC + b"-> scrypt %s %d\n%s\n---" % (_encoded(salt), work_factor, _encoded(wrapped))
        self._head = head + b" " + _encoded(crypto.mac(file_key, head)) + b"\n" + nonce
        self._cipher = crypto.cipher(crypto.derived(file_key, nonce, b"payload"))
        self._counter = 0
        self._waiting = bytearray()

    def pack(self, data: bytes, /) -> bytes:
        """Encrypt some more: all but the last chunk, which only `finish` knows."""
        self._waiting += data
        whole = (len(self._waiting) - 1) // _CHUNK_BYTES * _CHUNK_BYTES if self._waiting else 0
        chunks = [
            self._chunk(self._waiting[at : at + _CHUNK_BYTES], last=False) for at in range(0, whole, _CHUNK_BYTES)
        ]
        del self._waiting[:whole]
        return self._with_head(b"".join(chunks))

    def finish(self) -> bytes:
        """The last chunk."""
        return self._with_head(self._chunk(self._waiting, last=True))

    def close(self) -> None:
        """Nothing is held."""

    def _chunk(self, content: bytearray, *, last: bool) -> bytes:
        nonce = _chunk_nonce(self._counter, last)
        self._counter += 1
        sealed: bytes = self._cipher.encrypt(nonce, bytes(content), None)
        return sealed

    def _with_head(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + data


class PassphraseUnpacker:
    """A file encrypted with a passphrase in, its content out. Raises WrongKey, HostileShape, CorruptStream.

    `head`: of the file, which `feed` gets as well. Memory: two chunks, and scrypt's own, at most 1 GiB.
    """

    def __init__(self, head: bytes, passphrase: str) -> None:
        self._to_skip = len(head)
        self._cipher: Any = None
        self._crypto = _Primitives()
        self._file_key = self._opened(head, passphrase)
        self._waiting = bytearray()
        self._counter = 0
        self._count = 0

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Decrypt some more input: all but what may be the last chunk."""
        self._count += len(data)
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        self._waiting += data[skipped:]
        if self._cipher is None:
            if len(self._waiting) < _NONCE_BYTES:
                return
            key = self._crypto.derived(self._file_key, bytes(self._waiting[:_NONCE_BYTES]), b"payload")
            self._cipher = self._crypto.cipher(key)
            del self._waiting[:_NONCE_BYTES]
        sealed = _CHUNK_BYTES + _TAG_BYTES
        whole = (len(self._waiting) - 1) // sealed * sealed if self._waiting else 0
        chunks = [self._chunk(self._waiting[at : at + sealed], last=False) for at in range(0, whole, sealed)]
        del self._waiting[:whole]
        if chunks:
            yield b"".join(chunks)

    def finish(self) -> Iterator[bytes]:
        """The input has ended: the last chunk. Raises TruncatedArchive."""
        if self._cipher is None or len(self._waiting) < _TAG_BYTES:
            raise _fault(TruncatedArchive, f"age data ends inside a chunk, after {self._count} bytes")
        content = self._chunk(self._waiting, last=True)
        if not content and self._counter > 1:
            raise _fault(
                CorruptStream, "the last chunk of the age file is empty, expected it to end with the one before"
            )
        yield content

    def close(self) -> None:
        """Nothing is held."""

    def _opened(self, head: bytes, passphrase: str) -> bytes:
        """The key of the file."""
        found = _SCRYPT.match(head)
        if found is None:
            raise _fault(CorruptStream, "the head of the age file is not that of one with a passphrase")
        factor = int(found[2])
        if factor > MOST_WORK_FACTOR:
            message = f"the passphrase costs 2^{factor} rounds of scrypt to try, expected 2^{MOST_WORK_FACTOR} at most"
            raise _fault(HostileShape, message)
        key = self._crypto.stretched(passphrase, _decoded(found[1]), factor)
        try:
            file_key: bytes = self._crypto.cipher(key).decrypt(bytes(12), _decoded(found[3]), None)
        except self._crypto.invalid as error:
            raise WrongKey("the passphrase does not open this file").at(stage="unwrap") from error
        signed, _, mac = head.rstrip(b"\n").rpartition(b" ")
        if self._crypto.mac(file_key, signed) != _decoded(mac):
            raise _fault(CorruptStream, "the head of the age file does not match its checksum")
        return file_key

    def _chunk(self, sealed: bytearray, *, last: bool) -> bytes:
        nonce = _chunk_nonce(self._counter, last)
        self._counter += 1
        try:
            content: bytes = self._cipher.decrypt(nonce, bytes(sealed), None)
        except self._crypto.invalid as error:
            place = f"chunk {self._counter} does not decrypt, within {self._count} bytes"
            raise _fault(CorruptStream, f"age data is damaged or cut: {place}") from error
        return content


class _Primitives:
    """What `cryptography` has of the format's parts. Raises MissingExtra."""

    def __init__(self) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives import hashes, hmac
            from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
            from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
        except ModuleNotFoundError as error:
            raise MissingExtra("a passphrase needs the package cryptography", "crypt") from error
        self.invalid = InvalidTag
        self.cipher = ChaCha20Poly1305
        self._hashes, self._hmac, self._hkdf, self._scrypt = hashes, hmac, HKDF, Scrypt

    def stretched(self, passphrase: str, salt: bytes, factor: int) -> bytes:
        """The key that a passphrase makes."""
        return self._scrypt(_SCRYPT_LABEL + salt, 32, 1 << factor, 8, 1).derive(passphrase.encode())

    def derived(self, file_key: bytes, salt: bytes, info: bytes) -> bytes:
        """A key of 32 bytes out of the file's."""
        return self._hkdf(self._hashes.SHA256(), 32, salt, info).derive(file_key)

    def mac(self, file_key: bytes, head: bytes) -> bytes:
        """The checksum of a head."""
        made = self._hmac.HMAC(self.derived(file_key, b"", b"header"), self._hashes.SHA256())
        made.update(head)
        return made.finalize()


def _chunk_nonce(counter: int, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + struct.pack("?", last)


def _encoded(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    """Base64 without padding. Raises CorruptStream where it is not the one form that these bytes have."""
    data = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    if _encoded(data) != text:
        raise _fault(CorruptStream, "the head of the age file has base64 with bits left over")
    return data


# --- armor -------------------------------------------------------------------------------------------------------


class Unarmor:
    """The text form of an encrypted file in, the file itself out: base64 in lines of 64 between two marks."""

    def __init__(self) -> None:
        self._waiting = b""
        self._line = 0
        self._short = False
        self._ended = False

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Decodes whole lines."""
        self._waiting += data
        lines = self._waiting.split(b"\n")
        self._waiting = lines.pop()
        if len(self._waiting) > _ARMOR_LINE + 1:
            raise self._damage(f"a line longer than {_ARMOR_LINE}")
        if decoded := b"".join(map(self._decoded, lines)):
            yield decoded

    def finish(self) -> Iterator[bytes]:
        """The input has ended: it must have come to the closing mark."""
        if self._waiting:
            yield self._decoded(self._waiting)
        if not self._ended:
            raise _fault(TruncatedArchive, f"armored age data ends after {self._line} lines, before its closing mark")

    def close(self) -> None:
        """Nothing is held."""

    def _decoded(self, line: bytes) -> bytes:
        line = line.removesuffix(b"\r")
        self._line += 1
        if self._ended:
            if line.strip():
                raise _fault(TrailingBytes, f"line {self._line} follows the closing mark of the armored age data")
            return b""
        if self._line == 1:
            if line.rstrip() != ARMOR_BEGIN:
                raise self._damage("another opening mark")
            return b""
        if line.rstrip() == _ARMOR_END:
            self._ended = True
            return b""
        if self._short or not line or len(line) > _ARMOR_LINE:
            raise self._damage("a line of another length than 64 before the last")
        self._short = len(line) < _ARMOR_LINE or line.endswith(b"=")
        try:
            return b64decode(line, validate=True)
        except binascii.Error as error:
            raise self._damage(str(error)) from error

    def _damage(self, found: str) -> ArchiveError:
        return _fault(CorruptStream, f"armored age data is damaged in line {self._line}: {found}")


def _fault(kind: type[ArchiveError], message: str) -> ArchiveError:
    return kind(message).at(stage="unwrap")
