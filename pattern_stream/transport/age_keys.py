"""Keys of age as people write them: recipients, and files of recipients or identities."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final

from anyio import to_thread

from pattern_stream.errors import UsageError
from pattern_stream.transport.age import Identity, Recipient, age_library
from pattern_stream.transport.key_files import key_file, key_lines
from pattern_stream.transport.magics import AGE_MAGIC, ARMOR_BEGIN

_NAMES_ONE: Final = re.compile(r"age1[0-9a-z]+|ssh-[a-z0-9-]+ ")
_PLUGIN: Final = re.compile(r"age1(?=[a-z0-9-]*1)[a-z0-9-]+1|AGE-PLUGIN-")
"""A recipient or identity of a plugin has its name between two 1s; plain ones have no 1 after the first."""
_POST_QUANTUM: Final = ("age1pq1", "AGE-SECRET-KEY-PQ-")


def recipients(given: str) -> list[Recipient]:
    """The recipients that a text names: one itself, or a file with one a line. `#` begins a comment.

    Raises:  UsageError, FileMissing, TransportError, MissingExtra.
    """
    if _NAMES_ONE.match(given):
        return [_recipient(given, "--encrypt-to")]
    path = Path(given)
    found = [_recipient(line, f"{path}, line {number}") for number, line in key_lines(key_file(path), path)]
    if not found:
        raise UsageError(f"{path} names no recipient, expected one a line")
    return found


async def identities(path: Path, passphrase: Callable[[], Awaitable[str]] | None) -> list[Identity]:
    """The identities of a file: of age, an SSH private key, or such a file encrypted with a passphrase.

    Raises:  UsageError, FileMissing, TransportError, MissingExtra; KeyMissing, WrongKey of an encrypted one.
    """
    data = await to_thread.run_sync(key_file, path)
    if data.startswith((AGE_MAGIC, ARMOR_BEGIN)):
        from pattern_stream.transport.wrapping import Unwrapping, unwrap

        data = b"".join([piece async for piece in unwrap(_once(data), Unwrapping(passphrase=passphrase))])
    pyrage = age_library()
    if data.startswith(b"-----BEGIN "):
        try:
            return [pyrage.ssh.Identity.from_buffer(data)]
        except pyrage.IdentityError as error:
            hint = "an SSH key with a passphrase is not read: take an identity of age, or a copy of the key without one"
            raise UsageError(f"{path} is no SSH key that can decrypt: {error}", hint=hint) from error
    found = []
    for number, line in key_lines(data, path):
        _refuse_plugins(line, f"{path}, line {number}")
        try:
            found.append(pyrage.x25519.Identity.from_str(line))
        except pyrage.IdentityError as error:
            raise UsageError(f"{path}, line {number}, is no identity of age: {error}") from error
    if not found:
        raise UsageError(f"{path} holds no identity, expected AGE-SECRET-KEY-1... or an SSH private key")
    return found


def _recipient(text: str, place: str) -> Recipient:
    pyrage = age_library()
    _refuse_plugins(text, place)
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise UsageError(f"{place} is {text[:70]!r}, expected a recipient of age or an SSH key: {error}") from error


def _refuse_plugins(text: str, place: str) -> None:
    if text.startswith(_POST_QUANTUM):
        raise UsageError(f"{place} is a post-quantum key of age, which this release does not know")
    if _PLUGIN.match(text):
        hint = "encrypt or decrypt with the age program instead, in a pipe"
        raise UsageError(f"{place} is a key of a plugin, which is a program, and none is run", hint=hint)


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data
