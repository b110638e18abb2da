"""An archive signed: its root, after all of it was found good. The signature goes beside the archive or into it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from anyio import to_thread

from pattern_stream.codec.car import encode_section_head
from pattern_stream.codec.cid import cid_from_text, cid_of
from pattern_stream.codec.signature_block import SignatureBlock
from pattern_stream.errors import MalformedBlock, UsageError
from pattern_stream.items import AsyncWriter, ProgressCallback
from pattern_stream.pipelines.reading import ArchiveSource, watched
from pattern_stream.pipelines.verifying import verify_archive
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.streams import closing
from pattern_stream.transport.files import open_input, open_target
from pattern_stream.transport.signers import MakeSignature
from pattern_stream.transport.sshsig import NAMESPACE, blob_of, parse_blob, signed_line
from pattern_stream.transport.wrapping import Unwrapping, Wrapping, unwrap, wrap


@dataclass(frozen=True, slots=True)
class SigningResult:
    """What was signed, and by which key. `embedded`: the signature is in the archive that was written."""

    root: str
    key: str
    did: str | None
    embedded: bool

    def as_dict(self) -> dict[str, Any]:
        """The summary, as the command line prints it."""
        return {"root": self.root, "key": self.key, "did": self.did, "embedded": self.embedded}


async def signature_block(root: bytes, make: MakeSignature) -> bytes:
    """The block that goes into an archive with this root. Raises what making the signature raises."""
    text = await to_thread.run_sync(make, signed_line(root))
    return SignatureBlock(root, NAMESPACE, blob_of(text)).encoded()


async def sign_archive(
    source: ArchiveSource,
    out: Path | AsyncWriter | None,
    make: MakeSignature,
    *,
    embed: bool = False,
    force: bool = False,
    wrapping: Wrapping = Wrapping(),
    unwrapping: Unwrapping = Unwrapping(),
    progress: ProgressCallback | None = None,
) -> SigningResult:
    """Sign the root of an archive, when all of it has been read and found good.

    `out` gets the signature in its armored form, or with `embed` the archive with one more block, in `wrapping`; then
    the source must be a file, which is read twice.

    Raises:  MalformedBlock: the archive is not sound, with its first fault; what reading, writing and signing raise.
    """
    if embed and not isinstance(source, Path):
        raise UsageError("an archive from a stream cannot take its signature in: it would be read twice")
    if isinstance(source, Path) and isinstance(out, Path) and out.exists() and out.samefile(source):
        raise UsageError(f"{out} is what is signed, expected another file")
    async with AsyncExitStack() as resources:
        target = await resources.enter_async_context(open_target(out, force=force))
        found = await verify_archive(source, unwrapping=unwrapping, progress=progress)
        if not found.ok or found.root is None:
            fault = next(finding for finding in found.findings if finding.severity == "error")
            raise MalformedBlock(f"the archive is not sound, so it is not signed: {fault.message}", where=fault.where)
        root = cid_from_text(found.root)
        text = await to_thread.run_sync(make, signed_line(root))
        key = parse_blob(blob_of(text)).key
        if not embed:
            await target.write(text)
        else:
            data = SignatureBlock(root, NAMESPACE, blob_of(text)).encoded()
            async with wrap(target, wrapping) as wrapped:
                async for piece in _again(source, unwrapping, progress):
                    await wrapped.write(piece)
                await wrapped.write(encode_section_head(cid_of(data), len(data)) + data)
        return SigningResult(found.root, key.fingerprint, key.did, embed)


async def _again(
    source: ArchiveSource, unwrapping: Unwrapping, progress: ProgressCallback | None
) -> AsyncGenerator[bytes]:
    """The bytes of a file that was read before, without what lies round them."""
    if not isinstance(source, Path):
        raise UsageError("a stream cannot be read twice")
    async with open_input(source) as raw:
        pieces = unwrap(watched(raw, "sign", raw.total_bytes, progress), unwrapping)
        async with closing(pieces):
            async for piece in pieces:
                yield piece
