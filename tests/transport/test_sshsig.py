"""Signatures as OpenSSH makes and checks them, and what is refused of them."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import KeyFault, UsageError, WrongKey
from pattern_stream.transport import sshsig
from pattern_stream.transport.signers import signature_maker, trust
from pattern_stream.transport.sshsig import (
    NAMESPACE,
    PublicKey,
    armored,
    blob_of,
    check,
    parse_blob,
    parse_public_key,
    signed_line,
    signer,
)

ROOT = cid_of(b"root")
LINE = signed_line(ROOT)
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEYS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


def saved(key: Any, path: Path, passphrase: bytes | None = None) -> str:
    """A private key in a file, as ssh-keygen writes it; its public half as text."""
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    form = serialization.PrivateFormat.OpenSSH
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, hidden))
    path.chmod(0o600)
    public = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    text: str = key.public_key().public_bytes(*public).decode()
    return text


def no_passphrase() -> str:
    """Fails the test that asks for one."""
    raise AssertionError("no passphrase is wanted here")


@pytest.mark.parametrize("kind", KEYS)
def test_each_kind_of_key_both_ways(kind: str, tmp_path: Path) -> None:
    """What we sign ssh-keygen takes, and the other way; another line is refused by both."""
    public = saved(KEYS[kind](), tmp_path / "key")
    (tmp_path / "allowed").write_text(f"me@x {public}\n")
    ours = signature_maker(tmp_path / "key", no_passphrase)(LINE)
    (tmp_path / "sig").write_bytes(ours)
    arguments = ("-f", "allowed", "-I", "me@x", "-n", NAMESPACE, "-s", "sig")

    check(parse_blob(blob_of(ours)), LINE)
    with pytest.raises(WrongKey, match="is not good"):
        check(parse_blob(blob_of(ours)), signed_line(cid_of(b"another")))
    assert parse_public_key(public) == parse_blob(blob_of(ours)).key
    assert 0 == ssh_keygen("verify", *arguments, folder=tmp_path).returncode
    assert 0 != ssh_keygen("verify", *arguments, folder=tmp_path, line=b"other\n").returncode
    theirs = ssh_keygen("sign", "-q", "-f", "key", "-n", NAMESPACE, folder=tmp_path).stdout
    check(parse_blob(blob_of(theirs)), LINE)
    other = ssh_keygen("sign", "-q", "-f", "key", "-n", "git", folder=tmp_path).stdout
    with pytest.raises(WrongKey, match="namespace 'git', expected 'pattern-stream'"):
        check(parse_blob(blob_of(other)), LINE)


def ssh_keygen(verb: str, *arguments: str, folder: Path, line: bytes = LINE) -> subprocess.CompletedProcess[bytes]:
    """Runs it, or skips the test."""
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", verb, *arguments], input=line, capture_output=True, cwd=folder, check=False
        )
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")


def test_a_key_with_a_passphrase(tmp_path: Path) -> None:
    """It is asked for once; a wrong one is a usage error."""
    saved(KEYS["ed25519"](), tmp_path / "key", b"geheim")

    check(parse_blob(blob_of(signature_maker(tmp_path / "key", lambda: "geheim")(LINE))), LINE)
    with pytest.raises(UsageError, match="is no private key that can sign"):
        signature_maker(tmp_path / "key", lambda: "wrong")


def test_a_public_key_signs_through_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an agent, what ssh-keygen says comes out as exit code 8."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "key.pub").write_text(saved(KEYS["ed25519"](), tmp_path / "elsewhere"))
    ssh_keygen("sign", folder=tmp_path)
    make = signature_maker(tmp_path / "key.pub", no_passphrase)

    with pytest.raises(KeyFault, match="ssh-keygen did not sign") as caught:
        make(LINE)
    assert 8 == caught.value.exit_code


def test_a_hardware_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signature covers the application and a counter; without a touch it does not count."""
    private = ed25519.Ed25519PrivateKey.generate()
    public, _ = signer(private)
    point = public.blob[-32:]
    blob = string(b"sk-ssh-ed25519@openssh.com") + string(point) + string(b"ssh:")

    def make(flags: int) -> Callable[[bytes], bytes]:
        def signed(data: bytes) -> bytes:
            touched = struct.pack(">BI", flags, 7)
            covered = hashlib.sha256(b"ssh:").digest() + touched + hashlib.sha256(data).digest()
            return string(b"sk-ssh-ed25519@openssh.com") + string(private.sign(covered)) + touched

        return signed

    check(parse_blob(blob_of(armored(PublicKey(blob), LINE, make(1)))), LINE)
    with pytest.raises(WrongKey, match="nobody touched the hardware key"):
        check(parse_blob(blob_of(armored(PublicKey(blob), LINE, make(0)))), LINE)


def string(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return struct.pack(">I", len(data)) + data


def test_sha1_and_short_keys_are_refused() -> None:
    """An RSA signature named ssh-rsa is one over SHA-1; 1024 bits are too few."""
    private = rsa.generate_private_key(65537, 2048)
    public, make = signer(private)
    old = armored(public, LINE, lambda data: make(data).replace(string(b"rsa-sha2-512"), string(b"ssh-rsa"), 1))
    with pytest.raises(WrongKey, match="signed as 'ssh-rsa', expected rsa-sha2-512"):
        check(parse_blob(blob_of(old)), LINE)
    with pytest.raises(UsageError, match="cannot sign here"):
        signer(rsa.generate_private_key(65537, 1024))


@pytest.mark.parametrize("at", range(0, 180, 3))
def test_a_flipped_byte_is_refused(at: int) -> None:
    """Wherever it is, the signature is none any more, or not of this line."""
    key, make = signer(_KEY)
    blob = bytearray(blob_of(armored(key, LINE, make)))
    blob[at % len(blob)] ^= 1
    with pytest.raises((ValueError, WrongKey)):
        check(parse_blob(bytes(blob)), LINE)


_KEY = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_cut_is_refused(cut: int) -> None:
    """A field that ends early, and bytes behind the last."""
    key, make = signer(_KEY)
    blob = blob_of(armored(key, LINE, make))
    with pytest.raises(ValueError, match=r"it ends \d+ bytes early"):
        parse_blob(blob[:-cut])
    with pytest.raises(ValueError, match=f"{cut} bytes follow"):
        parse_blob(blob + bytes(cut))


def test_text_that_is_no_signature() -> None:
    """Marks, alphabet and size."""
    for text in (b"", b"nonsense", b"-----BEGIN SSH SIGNATURE-----\n*\n-----END SSH SIGNATURE-----", bytes(20_000)):
        with pytest.raises(ValueError, match=r"it has no marks|it is 20000 bytes|[Bb]ase64|character"):
            blob_of(text)


# --- whose signatures count --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "signer_name", "expected"),
    [
        ("me@x {key}", None, "me@x"),
        ("me@x {key}", "me@x", "me@x"),
        ("me@x {key}", "you@x", None),
        ("*@x,!you@x {key}", "me@x", "me@x"),
        ("*@x,!you@x {key}", "you@x", None),
        ('me@x namespaces="git,pattern-*" {key}', "me@x", "me@x"),
        ('me@x namespaces="git" {key}', "me@x", None),
        ('me@x valid-after="20261128" {key}', "me@x", "me@x"),
        ('me@x valid-after="20261128130000Z" {key}', "me@x", None),
        ('me@x valid-before="20261128130000Z" {key}', "me@x", "me@x"),
        ('me@x valid-before="202611281100Z",namespaces="*" {key}', "me@x", None),
    ],
)
def test_lines_of_allowed_signers(line: str, signer_name: str | None, expected: str | None, tmp_path: Path) -> None:
    """Names, namespaces and times decide, as for ssh-keygen."""
    text = saved(_KEY, tmp_path / "key")
    (tmp_path / "allowed").write_text("# those who count\n\n" + line.format(key=text) + "\n")
    found = trust(str(tmp_path / "allowed"), signer_name)

    assert expected == found.principals(parse_public_key(text), NOW)


@pytest.mark.parametrize("option", ["cert-authority", 'valid-after="soon"', "no-touch-required", 'verify-required="x"'])
def test_lines_that_are_not_taken(option: str, tmp_path: Path) -> None:
    """What is not obeyed makes its line not count; a file without any other line is a usage error."""
    text = saved(_KEY, tmp_path / "key")
    path = tmp_path / "allowed"
    path.write_text(f"me@x {option} {text}\n")
    with pytest.raises(UsageError, match=r"names no key that counts.*line 1"):
        trust(str(path))
    path.write_text(f"me@x {option} {text}\nme@x {text}\n")
    found = trust(str(path))

    assert 1 == len(found.refused)
    assert "me@x" == found.principals(parse_public_key(text), NOW)


def test_a_key_alone_counts(tmp_path: Path) -> None:
    """As text, and as its file; it has no name, so nobody can be asked for."""
    text = saved(_KEY, tmp_path / "key")
    (tmp_path / "key.pub").write_text(text + " me@x\n")
    key = parse_public_key(text)

    assert key.fingerprint == trust(text).principals(key, NOW)
    assert key.fingerprint == trust(str(tmp_path / "key.pub")).principals(key, NOW + timedelta(days=9999))
    for given in (text, str(tmp_path / "key.pub")):
        with pytest.raises(UsageError, match="--signer me@x finds nobody"):
            trust(given, "me@x")
    with pytest.raises(UsageError, match="is no public key"):
        trust("ssh-ed25519 nonsense")


def test_the_other_name_of_a_key() -> None:
    """An Ed25519 key is shown as a did:key too. Source: the example of the did:key method."""
    point = bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")
    key = PublicKey(string(b"ssh-ed25519") + string(point))

    assert "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp" == key.did
    assert sshsig.PublicKey(string(b"ssh-rsa")).did is None
