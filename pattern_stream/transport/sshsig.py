"""Signatures as OpenSSH makes them (SSHSIG), over the root of an archive: made, read, checked against a key.

What is signed is one line, the text of the root's CID. The root names every block, so one signature holds for every
order of sections and whatever lies round the archive. Source: OpenSSH, PROTOCOL.sshsig; RFC 4253, 5656, 8332, 8709.
"""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Any, Final

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import MissingExtra, UsageError, WrongKey
from pattern_stream.quick_dataclass import dataclass

NAMESPACE: Final = "pattern-stream"
"""Nothing that was signed for another purpose counts here."""

MOST_BYTES: Final = 16 * 1024
"""Of a signature, armored or not."""

_MAGIC: Final = b"SSHSIG"
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_LINE: Final = 70
_HASHES: Final[dict[str, Callable[[bytes], Any]]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_LEAST_RSA_BITS: Final = 2048
_CURVES: Final = {"nistp256": "SECP256R1", "nistp384": "SECP384R1", "nistp521": "SECP521R1"}
_CURVE_HASHES: Final = {"nistp256": "SHA256", "nistp384": "SHA384", "nistp521": "SHA512"}
_USER_PRESENT: Final = 1


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as SSH writes it. `blob`: its binary form, which begins with its type."""

    blob: bytes

    @property
    def type(self) -> str:
        """As `ssh-ed25519`."""
        return _Fields(self.blob).text()

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen shows it."""
        return "SHA256:" + b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def did(self) -> str | None:
        """The same key as a did:key, of an Ed25519 key only."""
        if self.type != "ssh-ed25519":
            return None
        from multiformats import multibase

        reader = _Fields(self.blob)
        reader.text()
        return "did:key:" + multibase.encode(b"\xed\x01" + reader.string(), "base58btc")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was read, with what it claims; nothing of it has been checked."""

    key: PublicKey
    namespace: str
    hash_name: str
    signature: bytes


def parse_public_key(text: str) -> PublicKey:
    """The key in `TYPE BASE64 [COMMENT]`. Raises UsageError."""
    parts = text.split(None, 2)
    try:
        key = PublicKey(b64decode(parts[1], validate=True))
        if key.type == parts[0]:
            return key
    except (IndexError, ValueError, Base64Error):
        pass
    raise UsageError(f"{text[:60]!r} is no public key, expected TYPE BASE64, as in id_ed25519.pub")


def signed_line(root: bytes) -> bytes:
    """What is signed for an archive with this root."""
    return cid_text(root).encode() + b"\n"


def parse_blob(data: bytes) -> Signature:
    """A signature in its binary form. Raises ValueError."""
    if not data.startswith(_MAGIC):
        raise ValueError("it does not begin with SSHSIG")
    reader = _Fields(data[len(_MAGIC) :])
    if (version := reader.number()) != 1:
        raise ValueError(f"version {version}, expected 1")
    key, namespace, _reserved = PublicKey(reader.string()), reader.text(), reader.string()
    hash_name, signature = reader.text(), reader.string()
    reader.finish()
    if hash_name not in _HASHES:
        raise ValueError(f"hash {hash_name!r}, expected sha256 or sha512")
    return Signature(key, namespace, hash_name, signature)


def blob_of(text: bytes) -> bytes:
    """The binary form of an armored signature. Raises ValueError."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is {len(text)} bytes, expected at most {MOST_BYTES}")
    joined = " ".join(text.decode("ascii").split())
    if not joined.startswith(_BEGIN) or not joined.endswith(_END):
        raise ValueError("it has no marks")
    return b64decode("".join(joined.removeprefix(_BEGIN).removesuffix(_END).split()), validate=True)


def check(signature: Signature, message: bytes) -> None:
    """Check that its key signed the message for our namespace. Raises WrongKey, MissingExtra."""
    if signature.namespace != NAMESPACE:
        raise WrongKey(f"a signature is for namespace {signature.namespace!r}, expected {NAMESPACE!r}")
    try:
        _verify(signature, _covered(message, signature.hash_name))
    except (ValueError, _invalid_signature()) as error:
        what = str(error) or "it does not match"
        raise WrongKey(f"the signature of key {signature.key.fingerprint} is not good: {what}") from error


def armored(key: PublicKey, message: bytes, make: Callable[[bytes], bytes]) -> bytes:
    """A signature of the message. `make`: gives the raw signature, with its type, of the bytes that it gets."""
    hash_name = "sha512"
    raw = make(_covered(message, hash_name))
    fields = (key.blob, NAMESPACE.encode(), b"", hash_name.encode(), raw)
    text = b64encode(_MAGIC + struct.pack(">I", 1) + b"".join(map(_string, fields))).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def signer(private_key: Any) -> tuple[PublicKey, Callable[[bytes], bytes]]:
    """The public half of a private key of `cryptography`, and what makes raw signatures. Raises UsageError."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    key = parse_public_key(private_key.public_key().public_bytes(*form).decode())
    if isinstance(private_key, ed25519.Ed25519PrivateKey):
        return key, lambda data: _string(b"ssh-ed25519") + _string(private_key.sign(data))
    if isinstance(private_key, rsa.RSAPrivateKey) and private_key.key_size >= _LEAST_RSA_BITS:
        kind = _string(b"rsa-sha2-512")
        return key, lambda data: kind + _string(private_key.sign(data, padding.PKCS1v15(), hashes.SHA512()))
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        hash_ = getattr(hashes, _CURVE_HASHES[key.type.removeprefix("ecdsa-sha2-")])()

        def sign(data: bytes) -> bytes:
            r, s = utils.decode_dss_signature(private_key.sign(data, ec.ECDSA(hash_)))
            return _string(key.type.encode()) + _string(_mpint(r) + _mpint(s))

        return key, sign
    raise UsageError(f"a key of type {key.type} cannot sign here, expected Ed25519, RSA of 2048 bits or more, or ECDSA")


def _covered(message: bytes, hash_name: str) -> bytes:
    """The bytes that the key itself signs."""
    digest = _HASHES[hash_name](message).digest()
    return _MAGIC + b"".join(map(_string, (NAMESPACE.encode(), b"", hash_name.encode(), digest)))


def _verify(signature: Signature, data: bytes) -> None:
    """Raises ValueError or InvalidSignature."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

    key, blob = _Fields(signature.key.blob), _Fields(signature.signature)
    kind, signed_as, raw = key.text(), blob.text(), blob.string()
    touched = b""
    if kind.startswith("sk-"):
        touched = bytes((flags := blob.byte(),)) + blob.number().to_bytes(4, "big")
        if not flags & _USER_PRESENT:
            raise ValueError("nobody touched the hardware key")
    blob.finish()
    if kind == "ssh-rsa":
        exponent, modulus = key.mpint(), key.mpint()
        if modulus.bit_length() < _LEAST_RSA_BITS:
            raise ValueError(f"an RSA key of {modulus.bit_length()} bits, expected {_LEAST_RSA_BITS} or more")
        if signed_as not in ("rsa-sha2-256", "rsa-sha2-512"):
            raise ValueError(f"signed as {signed_as!r}, expected rsa-sha2-512 or rsa-sha2-256")
        rsa_hash = hashes.SHA512() if signed_as == "rsa-sha2-512" else hashes.SHA256()
        rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(raw, data, padding.PKCS1v15(), rsa_hash)
        return
    if signed_as != kind:
        raise ValueError(f"signed as {signed_as!r}, expected {kind!r}")
    plain = kind.removeprefix("sk-").removesuffix("@openssh.com")
    curve = ""
    if plain == "ssh-ed25519":
        point = key.string()
    elif plain.removeprefix("ecdsa-sha2-") in _CURVES:
        curve, point = key.text(), key.string()
        if f"ecdsa-sha2-{curve}" != plain:
            raise ValueError(f"curve {curve!r} in a key of type {kind!r}")
    else:
        raise ValueError(f"a key of type {kind!r} is not known")
    if kind.startswith("sk-"):
        data = hashlib.sha256(key.string()).digest() + touched + hashlib.sha256(data).digest()
    key.finish()
    if plain == "ssh-ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(point).verify(raw, data)
        return
    pair = _Fields(raw)
    der = utils.encode_dss_signature(pair.mpint(), pair.mpint())
    pair.finish()
    ec_key = ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, _CURVES[curve])(), point)
    ec_key.verify(der, data, ec.ECDSA(getattr(hashes, _CURVE_HASHES[curve])()))


def _invalid_signature() -> type[Exception]:
    try:
        from cryptography.exceptions import InvalidSignature
    except ImportError as error:
        raise MissingExtra("signatures need the package cryptography", "crypt") from error
    return InvalidSignature


class _Fields:
    """Fields of SSH's binary form, one after the other. Raises ValueError where they are not what they must be."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def string(self) -> bytes:
        """Bytes with their length before them."""
        return self._take(self.number())

    def text(self) -> str:
        """A string of printable ASCII."""
        text = self.string().decode("ascii")
        if not text.isprintable():
            raise ValueError("a name with control characters")
        return text

    def number(self) -> int:
        """Four bytes."""
        return int.from_bytes(self._take(4), "big")

    def byte(self) -> int:
        """One byte."""
        return self._take(1)[0]

    def mpint(self) -> int:
        """A positive number in its shortest form."""
        data = self.string()
        number = int.from_bytes(data, "big", signed=True)
        if number <= 0 or _mpint(number) != struct.pack(">I", len(data)) + data:
            raise ValueError("a number that is not positive, or not in its shortest form")
        return number

    def finish(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes follow its end")

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise ValueError(f"it ends {count - len(taken)} bytes early")
        self._at += count
        return taken


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _mpint(number: int) -> bytes:
    return _string(number.to_bytes(number.bit_length() // 8 + 1, "big"))
