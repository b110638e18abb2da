"""Archives that are signed: in themselves and beside, judged before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from pattern_stream import export_archive, import_archive, make_demo, verify_archive
from pattern_stream.codec.car import encode_section_head
from pattern_stream.codec.cid import cid_of
from pattern_stream.codec.signature_block import SignatureBlock
from pattern_stream.errors import MalformedBlock, UsageError, WrongKey
from pattern_stream.pipelines.exporting import ExportOptions
from pattern_stream.pipelines.import_terms import ImportOptions
from pattern_stream.pipelines.signatures import WantedSignature
from pattern_stream.pipelines.signing import sign_archive
from pattern_stream.transport.signers import MakeSignature, trust
from pattern_stream.transport.sshsig import NAMESPACE, armored, blob_of, signed_line, signer
from pattern_stream.transport.wrapping import Compression, Wrapping
from tests.drive import dribble
from tests.transport.test_sshsig import saved

pytestmark = pytest.mark.anyio


class Key:
    """A key that signs, and its public half as text."""

    def __init__(self, folder: Path) -> None:
        private = ed25519.Ed25519PrivateKey.generate()
        folder.mkdir()
        self.text = saved(private, folder / "key")
        public, make = signer(private)
        self.make: MakeSignature = lambda line: armored(public, line, make)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Ours."""
    return Key(tmp_path / "ours")


@pytest.fixture
def other(tmp_path: Path) -> Key:
    """Somebody else's."""
    return Key(tmp_path / "theirs")


@pytest.fixture
async def small_demo(tmp_path: Path) -> Path:
    """A database with a few messages."""
    await make_demo(tmp_path / "demo.db", messages=40)
    return tmp_path / "demo.db"


@pytest.fixture
async def signed(small_demo: Path, tmp_path: Path, key: Key) -> Path:
    """An archive that was signed as it was written."""
    await export_archive(small_demo, tmp_path / "signed.car", options=ExportOptions(sign=key.make, verify=True))
    return tmp_path / "signed.car"


async def test_a_signature_in_the_archive(signed: Path, key: Key, other: Key) -> None:
    """It is found, it counts for its key alone, and the archive is sound and nothing is said to be unreferenced."""
    plain = await verify_archive(signed)
    wanted = await verify_archive(signed, wanted=WantedSignature(trust(key.text)))
    foreign = await verify_archive(signed, wanted=WantedSignature(trust(other.text)))

    assert [(True, True, None)] == [(one.embedded, one.good, one.signer) for one in plain.signatures]
    assert (0, 0, 8) == (plain.exit_code, wanted.exit_code, foreign.exit_code)
    assert 0 == plain.unreferenced
    assert [] == plain.findings
    assert wanted.signatures[0].fingerprint == wanted.signatures[0].signer


async def test_import_asks_first(signed: Path, key: Key, other: Key, tmp_path: Path) -> None:
    """From a file and from a pipe: the wrong key, and no signature at all, leave no database."""
    for source in (signed, dribble(signed.read_bytes(), 100_000)):
        with pytest.raises(WrongKey, match="does not count"):
            await import_archive(
                source, tmp_path / "new.db", options=ImportOptions(wanted=WantedSignature(trust(other.text)))
            )
        assert not (tmp_path / "new.db").exists()
    options = ImportOptions(wanted=WantedSignature(trust(key.text)))
    result = await import_archive(dribble(signed.read_bytes(), 100_000), tmp_path / "new.db", options=options)

    assert ["SHA256:"] == [(one.signer or "")[:7] for one in result.signatures]


async def test_a_living_database_is_untouched(signed: Path, other: Key, small_demo: Path) -> None:
    """Refused before the lock."""
    before = small_demo.read_bytes()
    options = ImportOptions(on_conflict="replace", wanted=WantedSignature(trust(other.text)))
    with pytest.raises(WrongKey):
        await import_archive(signed, small_demo, options=options)

    assert before == small_demo.read_bytes()


async def test_a_stripped_signature(signed: Path, key: Key, small_demo: Path, tmp_path: Path) -> None:
    """Without its last section the archive is sound and unsigned, which is why a signature can be required."""
    await export_archive(small_demo, tmp_path / "plain.car", options=ExportOptions(exported_at="2026-11-28T00:00:00Z"))
    found = await verify_archive(tmp_path / "plain.car", wanted=WantedSignature(trust(key.text)))

    assert found.ok
    assert 8 == found.exit_code
    options = ImportOptions(wanted=WantedSignature(trust(key.text)))
    with pytest.raises(WrongKey, match="has no signature"):
        await import_archive(tmp_path / "plain.car", tmp_path / "new.db", options=options)


@pytest.mark.parametrize("fault", ["root", "namespace", "signature", "shape"])
async def test_blocks_that_are_no_good_signature(fault: str, small_demo: Path, tmp_path: Path, key: Key) -> None:
    """Over another root, for another purpose, damaged: named, and they do not count."""
    written = await export_archive(small_demo, tmp_path / "plain.car")
    found = await verify_archive(tmp_path / "plain.car")
    assert written.root == found.root
    root = cid_of(b"another") if fault == "root" else root_of(tmp_path / "plain.car")
    sshsig = blob_of(key.make(signed_line(root)))
    sshsig = sshsig[:-1] + b"\0" if fault == "signature" else sshsig
    block = SignatureBlock(root, "git" if fault == "namespace" else NAMESPACE, sshsig).encoded()
    block = block.replace(b"\x69namespace", b"\x69namespacf") if fault == "shape" else block
    data = (tmp_path / "plain.car").read_bytes() + encode_section_head(cid_of(block), len(block)) + block
    found = await verify_archive(dribble(data, 1 << 20), wanted=WantedSignature(trust(key.text)))

    assert found.ok
    assert 8 == found.exit_code
    assert [False] * (fault != "shape") == [one.good for one in found.signatures]


def root_of(path: Path) -> bytes:
    """The root in the header of an archive."""
    head = path.read_bytes()[:100]
    at = head.index(b"\x58\x25\x00") + 3
    return head[at : at + 36]


async def test_signed_afterwards(small_demo: Path, tmp_path: Path, key: Key, other: Key) -> None:
    """Beside the archive, or in it with what lies round it, by several."""
    plain, beside = tmp_path / "plain.car", tmp_path / "plain.car.sig"
    await export_archive(small_demo, plain)
    await sign_archive(plain, beside, key.make)
    packed = Wrapping(Compression("zstd"))
    await sign_archive(plain, tmp_path / "one.car.zst", key.make, embed=True, wrapping=packed)
    await sign_archive(tmp_path / "one.car.zst", tmp_path / "two.car", other.make, embed=True)
    detached = await verify_archive(plain, wanted=WantedSignature(trust(key.text), beside))
    both = await verify_archive(tmp_path / "two.car", wanted=WantedSignature(trust(other.text)))

    assert (0, False) == (detached.exit_code, detached.signatures[0].embedded)
    assert (0, 2) == (both.exit_code, len(both.signatures))
    assert (tmp_path / "two.car").read_bytes().startswith(plain.read_bytes())


async def test_what_is_not_signed(small_demo: Path, tmp_path: Path, key: Key) -> None:
    """A damaged archive, and a stream that would have to be read twice; nothing is written."""
    plain = tmp_path / "plain.car"
    await export_archive(small_demo, plain)
    data = bytearray(plain.read_bytes())
    data[len(data) // 2] ^= 1
    plain.write_bytes(data)

    with pytest.raises(MalformedBlock, match="is not sound, so it is not signed"):
        await sign_archive(plain, tmp_path / "out.sig", key.make)
    with pytest.raises(UsageError, match="read twice"):
        await sign_archive(dribble(bytes(data)), tmp_path / "out.car", key.make, embed=True)
    assert not (tmp_path / "out.sig").exists()
    assert not (tmp_path / "out.car").exists()
