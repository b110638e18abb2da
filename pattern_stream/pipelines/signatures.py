"""Signatures over the root of an archive, beside it or in it, judged: whose they are, and whether they count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pattern_stream.codec.cid import cid_text
from pattern_stream.codec.signature_block import decode_signature
from pattern_stream.errors import WrongKey
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.transport.key_files import key_file
from pattern_stream.transport.signers import Trust
from pattern_stream.transport.sshsig import NAMESPACE, Signature, blob_of, check, parse_blob, signed_line


@dataclass(frozen=True, slots=True)
class WantedSignature:
    """Whose signature an archive must have. `detached`: a file with one, beside those in the archive."""

    trust: Trust
    detached: Path | None = None


@dataclass(frozen=True, slots=True)
class JudgedSignature:
    """A signature that was found. `signer`: who it belongs to, where it is good and counts; else `problem` says why
    not, None where nobody was named whose signatures count.
    """

    embedded: bool
    fingerprint: str | None
    did: str | None
    good: bool
    signer: str | None = None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As in the summary."""
        return {
            "embedded": self.embedded,
            "key": self.fingerprint,
            "did": self.did,
            "good": self.good,
            "signer": self.signer,
            "problem": self.problem,
        }


def judge(root: bytes, embedded: Sequence[bytes], wanted: WantedSignature | None = None) -> list[JudgedSignature]:
    """Each signature that is there for an archive whose walk began at this root.

    Raises:  MissingExtra: signatures are wanted, or there, and the package that checks them is not installed;
             FileMissing, TransportError: the detached one.
    """
    found = []
    for data in embedded:
        block = decode_signature(data)
        if block is None:
            continue
        if block.root != root:
            found.append(JudgedSignature(True, None, None, False, problem=f"it is over root {cid_text(block.root)}"))
        elif block.namespace != NAMESPACE:
            found.append(JudgedSignature(True, None, None, False, problem=f"it is for {block.namespace[:60]!r}"))
        else:
            found.append(_judged(root, block.sshsig, wanted, embedded=True))
    if wanted is not None and wanted.detached is not None:
        try:
            blob = blob_of(key_file(wanted.detached))
        except ValueError as error:
            found.append(JudgedSignature(False, None, None, False, problem=f"{wanted.detached} is none: {error}"))
        else:
            found.append(_judged(root, blob, wanted, embedded=False))
    return found


def untrusted(found: Sequence[JudgedSignature]) -> WrongKey | None:
    """The error of an archive that must be signed and is not; None where one signature counts."""
    if any(one.signer is not None for one in found):
        return None
    if not found:
        hint = "a signature beside the archive is named with --signature FILE"
        return WrongKey("the archive has no signature, expected one that counts", hint=hint)
    return WrongKey(f"no signature of the archive counts: {'; '.join(one.problem or 'unknown' for one in found)}")


def _judged(root: bytes, blob: bytes, wanted: WantedSignature | None, *, embedded: bool) -> JudgedSignature:
    signature: Signature | None = None
    try:
        signature = parse_blob(blob)
        fingerprint, did = signature.key.fingerprint, signature.key.did
        check(signature, signed_line(root))
    except (ValueError, WrongKey) as error:
        key = None if signature is None else signature.key.fingerprint
        return JudgedSignature(embedded, key, None, False, problem=str(error))
    if wanted is None:
        return JudgedSignature(embedded, fingerprint, did, True)
    signer = wanted.trust.principals(signature.key, datetime.now(UTC))
    problem = None
    if signer is None:
        whose = f" as {wanted.trust.signer}'s" if wanted.trust.signer else ""
        problem = f"key {fingerprint} does not count{whose}"
    return JudgedSignature(embedded, fingerprint, did, True, signer, problem)
