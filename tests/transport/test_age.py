"""age as others write it, keys as people write them, and what is refused of both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyrage
import pytest

from pattern_stream.errors import ArchiveError, CorruptStream, HostileShape, PatternStreamError, TruncatedArchive
from pattern_stream.transport.age import PassphrasePacker
from pattern_stream.transport.age_keys import identities, recipients
from pattern_stream.transport.magics import AGE_MAGIC
from pattern_stream.transport.wrapping import Encryption, Unwrapping, Wrapping, unwrap
from tests.drive import collect, dribble
from tests.transport.test_wrapping import wrapped

pytestmark = pytest.mark.anyio

KEY = pyrage.x25519.Identity.generate()
CONTENT = b"\x3aarchive" * 30_000


async def given() -> str:
    """The passphrase."""
    return "geheim"


async def unwrapped(data: bytes, how: Unwrapping, count: int = 1 << 20) -> bytes:
    """The content of a whole input that comes in pieces."""
    return b"".join(await collect(unwrap(dribble(data, count), how)))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """An identity file as age-keygen writes it."""
    path = tmp_path / "key.txt"
    path.write_text(f"# created: today\n# public key: {KEY.to_public()}\n{KEY}\n")
    return path


@pytest.mark.parametrize("armored", [False, True])
@pytest.mark.parametrize("count", [1000, 1 << 20])
async def test_what_the_library_writes(armored: bool, count: int, key_file: Path) -> None:
    """Binary and armored, for a recipient and with a passphrase."""
    how = Unwrapping([key_file], given)

    assert CONTENT == await unwrapped(pyrage.encrypt(CONTENT, [KEY.to_public()], armored=armored), how, count)
    assert CONTENT == await unwrapped(pyrage.passphrase.encrypt(CONTENT, "geheim", armored=armored), how, count)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537])
async def test_what_the_library_reads(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a passphrase of ours is one of age."""
    monkeypatch.setattr(PassphrasePacker.__init__, "__defaults__", (4,))
    data = await wrapped(CONTENT[:size], Wrapping(None, Encryption((), "geheim")))

    assert CONTENT[:size] == pyrage.passphrase.decrypt(data, "geheim")


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (lambda text: text.replace(b"-----END", b"-----FIN"), ArchiveError, "armored age data"),
        (lambda text: text[: len(text) // 2], ArchiveError, "armored age data|damaged or cut"),
        (lambda text: text[:-1].rpartition(b"\n")[0] + b"\n", TruncatedArchive, "before its closing mark"),
        (lambda text: text + b"more\n", ArchiveError, "follows the closing mark"),
        (lambda text: text.replace(b"\n", b"\n\n", 3), CorruptStream, "damaged in line 2"),
        (lambda text: text[:100] + b"*" + text[101:], ArchiveError, "damaged in line|damaged or cut"),
        (lambda text: text.replace(b"\n", b"", 4), CorruptStream, "another opening mark|a line longer"),
    ],
)
async def test_damaged_armor(change: object, kind: type[ArchiveError], reason: str, key_file: Path) -> None:
    """Each fault of the text form is named by its line."""
    text = pyrage.encrypt(CONTENT[:3000], [KEY.to_public()], armored=True)
    with pytest.raises(kind, match=reason):
        await unwrapped(change(text), Unwrapping([key_file]))  # type: ignore[operator]


async def test_a_passphrase_that_costs_too_much() -> None:
    """A head may not ask for gigabytes of memory."""
    head = AGE_MAGIC + b"-> scrypt " + b"A" * 22 + b" 22\n" + b"A" * 43 + b"\n--- " + b"A" * 43 + b"\n"
    with pytest.raises(HostileShape, match=r"costs 2\^22 rounds of scrypt to try, expected 2\^20 at most"):
        await unwrapped(head + bytes(100), Unwrapping(passphrase=given))


async def test_a_head_without_end() -> None:
    """A head is bounded, whatever its lines say."""
    with pytest.raises(CorruptStream, match="does not end within 262144 bytes"):
        await unwrapped(AGE_MAGIC + b"-> X25519 abc\n" * 30_000, Unwrapping(passphrase=given))


def make_key(kind: str, path: Path) -> None:
    """A new pair of SSH keys without a passphrase."""
    size = ("-b", "2048") if kind == "rsa" else ()
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-f", path], check=True)
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
async def test_keys_of_ssh(kind: str, tmp_path: Path) -> None:
    """A file of public keys encrypts, the private key opens."""
    make_key(kind, tmp_path / "id")
    to = recipients(str(tmp_path / "id.pub"))
    data = await wrapped(CONTENT, Wrapping(None, Encryption(to)))

    assert CONTENT == await unwrapped(data, Unwrapping([tmp_path / "id"]))


async def test_an_identity_file_with_a_passphrase(tmp_path: Path) -> None:
    """age's own habit: the identity file is itself encrypted."""
    path = tmp_path / "key.age"
    path.write_bytes(pyrage.passphrase.encrypt(str(KEY).encode(), "geheim", armored=True))
    data = await wrapped(CONTENT, Wrapping(None, Encryption(recipients(str(KEY.to_public())))))

    assert CONTENT == await unwrapped(data, Unwrapping([path], given))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no identity"),
        ("# nothing\n", "holds no identity"),
        ("AGE-PLUGIN-YUBIKEY-1QWERTY\n", "line 1 is a key of a plugin, which is a program, and none is run"),
        ("\nAGE-SECRET-KEY-PQ-1QWERTY\n", "line 2 is a post-quantum key"),
        ("AGE-SECRET-KEY-1NONSENSE\n", "line 1, is no identity of age"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n", "is no SSH key that can decrypt"),
        ("\udcff", "is no text"),
    ],
)
async def test_identities_that_are_none(text: str, reason: str, tmp_path: Path) -> None:
    """Exit 2, the file and the line."""
    path = tmp_path / "key"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(PatternStreamError, match=reason) as caught:
        await identities(path, None)

    assert 2 == caught.value.exit_code


@pytest.mark.parametrize(
    "text", ["age1pq1qwerty", "age1yubikey1qwerty", "age1nonsense", "ssh-dss AAAA", "ssh-ed25519 AAAA"]
)
def test_recipients_that_are_none(text: str, tmp_path: Path) -> None:
    """On the command line and in a file: exit 2."""
    path = tmp_path / "recipients"
    path.write_text(f"{KEY.to_public()}\n{text}\n")
    for given_text, place in ((text, "--encrypt-to"), (str(path), "line 2")):
        with pytest.raises(PatternStreamError, match=place) as caught:
            recipients(given_text)
        assert 2 == caught.value.exit_code


def test_a_file_of_recipients(tmp_path: Path) -> None:
    """One a line, with comments; an empty one and a missing one are errors."""
    path = tmp_path / "recipients"
    path.write_text(f"# friends\n\n{KEY.to_public()}\n{KEY.to_public()}\n")

    assert 2 == len(recipients(str(path)))
    path.write_text("# nobody\n")
    with pytest.raises(PatternStreamError, match="names no recipient"):
        recipients(str(path))
    with pytest.raises(PatternStreamError, match=r"key file .* is not there") as caught:
        recipients(str(tmp_path / "gone"))
    assert 6 == caught.value.exit_code
