"""Keys that sign, and whose signature counts: one public key, or a file of them as OpenSSH keeps it (allowed_signers).

Source: ssh-keygen(1), ALLOWED SIGNERS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from pattern_stream.errors import KeyFault, MissingExtra, UsageError
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.transport.key_files import key_file, key_lines
from pattern_stream.transport.sshsig import NAMESPACE, PublicKey, armored, parse_public_key, signer

_TYPE: Final = r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+"
_OPTION: Final = re.compile(r'([A-Za-z-]+)(?:="((?:[^"\\]|\\.)*)")?(?:,|(?=\s)|$)')
_TIME: Final = re.compile(r"(\d{8})(\d{4})?(\d{2})?(Z?)")


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that counts. `principals`: patterns of who it belongs to; None: whoever was named."""

    key: PublicKey
    principals: str | None = None
    namespaces: str | None = None
    valid_after: datetime | None = None
    valid_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count. `refused`: lines of the file that were not taken, with the reason; `signer`: the one
    person whose signature is wanted, None for any of them.
    """

    signers: Sequence[Signer]
    signer: str | None = None
    refused: Sequence[str] = ()

    def principals(self, key: PublicKey, now: datetime) -> str | None:
        """Who the key belongs to, by a line that is valid now; None where it does not count."""
        for one in self.signers:
            if one.key != key or not _allows(one.namespaces, NAMESPACE):
                continue
            if one.valid_after is not None and now < one.valid_after:
                continue
            if one.valid_before is not None and now >= one.valid_before:
                continue
            if self.signer is None:
                return one.principals or key.fingerprint
            if one.principals is not None and _allows(one.principals, self.signer):
                return self.signer
        return None


def trust(given: str, signer: str | None = None) -> Trust:
    """Who counts, by a public key as text, its file, or a file of allowed signers.

    A line with an option that is not known, or for certificates, is not taken. Raises UsageError, FileMissing.
    """
    if re.match(_TYPE + r"\s", given):
        if signer is not None:
            raise UsageError(f"a key alone has no name, so --signer {signer} finds nobody")
        return Trust([Signer(parse_public_key(given))])
    path = Path(given)
    signers, refused = [], []
    for number, line in key_lines(key_file(path), path):
        if re.match(_TYPE + r"\s", line):
            signers.append(Signer(parse_public_key(line)))
            continue
        try:
            signers.append(_signer(line))
        except (UsageError, ValueError) as error:
            refused.append(f"{path}, line {number}: {error}")
    if not signers:
        why = f": {refused[0]}" if refused else ""
        hint = "it has lines as: me@example.org ssh-ed25519 AAAA..."
        raise UsageError(f"{path} names no key that counts{why}", hint=hint)
    if signer is not None and all(one.principals is None for one in signers):
        raise UsageError(f"{path} has keys without names, so --signer {signer} finds nobody")
    return Trust(signers, signer, refused)


def _signer(line: str) -> Signer:
    principals, _, rest = line.partition(" ")
    given: dict[str, str | None] = {}
    while not re.match(_TYPE + r"\s", rest := rest.lstrip()):
        found = _OPTION.match(rest)
        if found is None:
            raise ValueError("no key follows the name")
        given[found[1].lower()] = found[2]
        rest = rest[found.end() :]
    unknown = given.keys() - {"namespaces", "valid-after", "valid-before"}
    if unknown:
        raise ValueError(f"option {min(unknown)} is not known here, so the key does not count")
    times = [_time(given.get(name)) for name in ("valid-after", "valid-before")]
    return Signer(parse_public_key(rest), principals.strip('"'), given.get("namespaces"), *times)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time, expected YYYYMMDD[HHMM[SS]][Z]")
    moment = datetime.strptime(found[1] + (found[2] or "0000") + (found[3] or "00"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    return moment.replace(tzinfo=UTC) if found[4] else moment.astimezone()


def _allows(patterns: str | None, name: str) -> bool:
    """Whether a list of patterns with `*`, `?` and `!` takes a name; one that is refused is not taken by another."""
    if patterns is None:
        return True
    parts = [part.strip() for part in patterns.split(",")]
    if any(part.startswith("!") and _matches(part[1:], name) for part in parts):
        return False
    return any(_matches(part, name) for part in parts if not part.startswith("!"))


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))


# --- keys that sign ----------------------------------------------------------------------------------------------

MakeSignature = Callable[[bytes], bytes]
"""Gives the armored signature of a line. It may take as long as a person takes to touch a key."""


def signature_maker(path: Path, passphrase: Callable[[], str]) -> MakeSignature:
    """What signs with the key in a file. `passphrase`: asks for that of the key, where it has one.

    A public key, whose private half an agent or a piece of hardware has, signs through ssh-keygen.
    Raises:  UsageError, FileMissing, TransportError, MissingExtra; what `passphrase` raises.
    """
    data = key_file(path)
    if re.match(_TYPE.encode() + rb"\s", data) or b"-----BEGIN" not in data[:64]:
        return _through_ssh_keygen(path)
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtra("signatures need the package cryptography", "crypt") from error
    is_openssh = data.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    load = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    try:
        try:
            key = load(data, None)
        except TypeError:  # it has a passphrase
            key = load(data, passphrase().encode())
    except UnsupportedAlgorithm:  # of a piece of hardware, or of a cipher that only OpenSSH knows
        return _through_ssh_keygen(path)
    except ValueError as error:
        raise UsageError(f"{path} is no private key that can sign: {error}") from error
    public, make = signer(key)
    return lambda line: armored(public, line, make)


def _through_ssh_keygen(path: Path) -> MakeSignature:
    import shutil
    import subprocess

    program = shutil.which("ssh-keygen")
    if program is None:
        raise UsageError(f"{path} signs through ssh-keygen, which is not installed")

    def make(line: bytes) -> bytes:
        command = [program, "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(path)]
        done = subprocess.run(command, input=line, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise KeyFault(f"ssh-keygen did not sign with {path}: {said or f'exit status {done.returncode}'}")
        return done.stdout

    return make
