"""What lies round an archive: the options for compression, encryption and keys, and where a passphrase comes from."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pattern_stream.budget import BUDGET
from pattern_stream.cli.options import PATH, kept
from pattern_stream.cli.output import path_text, plain, say, tell
from pattern_stream.cli.session import Session
from pattern_stream.errors import FileMissing, KeyMissing, UsageError

if TYPE_CHECKING:
    from pattern_stream.pipelines.signatures import JudgedSignature, WantedSignature
    from pattern_stream.transport.signers import MakeSignature
    from pattern_stream.transport.wrapping import Method, Unwrapping, Wrapping

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_METHODS: Final[Mapping[str, Method]] = {".gz": "gzip", ".zst": "zstd"}
"""Suffixes that say how the archive is compressed."""

_NOT_DONE: Final = (".xz", ".bz2", ".lz4", ".br", ".zip", ".7z", ".gpg", ".asc")
"""Suffixes of forms that an archive is not written in."""

PASSPHRASE_COMMAND: Final = "PATTERN_STREAM_PASSPHRASE_COMMAND"
"""Names the variable with a command that prints the passphrase. It is split as a shell splits, and no shell runs."""

COMMAND_SECONDS: Final = 120.0
"""How long that command may take: it may ask somebody."""


def opening_options(command: Decorated) -> Decorated:
    """`--identity` and `--max-expansion`: how an archive that is read is opened."""
    command = click.option(
        "--max-expansion",
        type=click.IntRange(min=1),
        default=BUDGET.most_ratio,
        show_default=True,
        expose_value=False,
        callback=kept,
        help="Most bytes that one compressed byte may become, after the first 256 MiB.",
    )(command)
    return click.option(
        "-i",
        "--identity",
        type=PATH,
        multiple=True,
        metavar="FILE",
        expose_value=False,
        callback=kept,
        help="Key of an archive encrypted with age: an identity or an SSH private key. Repeatable.",
    )(command)


def wrapping_options(command: Decorated) -> Decorated:
    """`--compress`, `--threads`, `--encrypt-to`, `--passphrase`: what is put round an archive that is written."""
    options = (
        click.option(
            "-z",
            "--compress",
            callback=_compression,
            expose_value=False,
            metavar="gzip|zstd[:LEVEL]",
            help="Compress the archive; a FILE named .gz or .zst is compressed anyway. Level 0 to 9, or 1 to 19.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            callback=kept,
            expose_value=False,
            help="Threads that compress, of zstd.",
        ),
        click.option(
            "--encrypt-to",
            multiple=True,
            callback=kept,
            expose_value=False,
            metavar="RECIPIENT|FILE",
            help="Encrypt with age for a recipient, an SSH key, or those that FILE lists. Repeatable.",
        ),
        click.option(
            "--passphrase",
            is_flag=True,
            callback=kept,
            expose_value=False,
            help="Encrypt with age and a passphrase, which is asked for.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _compression(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Keep `gzip`, `zstd`, or one of them with `:LEVEL`; a level of None is the program's own choice."""
    if value is None:
        return
    match = re.fullmatch("gzip(?::([0-9]))?|zstd(?::([1-9]|1[0-9]))?", value)
    if match is None:
        wanted = "expected gzip, gzip:0 to gzip:9, zstd, or zstd:1 to zstd:19"
        raise click.BadParameter(f"{value!r} is no compression, {wanted}", context, parameter)
    level = match[1] or match[2]
    found = "gzip" if value.startswith("gzip") else "zstd", None if level is None else int(level)
    kept(context, parameter, found)


def wrapping(session: Session, output: Path, passphrase: Passphrase) -> Wrapping:
    """What the options, and the suffixes of the output, put round an archive.

    Raises:  UsageError: the suffix of another form, options that do not fit together; what keys raise.
    """
    from pattern_stream.transport.wrapping import Compression, Encryption, Wrapping

    name, suffixes = path_text(output), [suffix.lower() for suffix in output.suffixes]
    if session.encrypt_to and session.passphrase:
        raise UsageError("--encrypt-to and --passphrase were both given, expected one of them: age allows no other")
    if suffixes and suffixes[-1] == ".age":
        if not session.encrypt_to and not session.passphrase:
            hint = "--encrypt-to RECIPIENT or --passphrase encrypts it"
            raise UsageError(f"{name} promises an encrypted file, and nothing encrypts it", hint=hint)
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _NOT_DONE:
        hint = "name it .car, .car.gz or .car.zst, and pack the finished file yourself"
        raise UsageError(f"{name} promises a form that no archive is written in: {suffix}", hint=hint)
    method, level = session.compress or (_METHODS.get(suffix), None)
    if suffix in _METHODS and method != _METHODS[suffix]:
        raise UsageError(f"{name} promises {_METHODS[suffix]}, found --compress {method}")
    encryption = None
    if session.encrypt_to:
        from pattern_stream.transport.age_keys import recipients

        encryption = Encryption([key for text in session.encrypt_to for key in recipients(text)])
    elif session.passphrase:
        encryption = Encryption((), passphrase.ask_new())
    return Wrapping(None if method is None else Compression(method, level, session.threads), encryption)


def unwrapping(session: Session, passphrase: Passphrase | None = None) -> Unwrapping:
    """What the options say of opening an archive. Raises FileMissing."""
    for path in session.identity:
        if not path.exists():
            raise FileMissing(f"key file {path} is not there")
    from pattern_stream.transport.wrapping import Unwrapping

    return Unwrapping(session.identity, (passphrase or Passphrase()).ask, session.max_expansion)


def signature_options(name: str, help: str) -> Callable[[Decorated], Decorated]:
    """The option that names whose signatures count, `--signer` and `--signature`."""

    def decorated(command: Decorated) -> Decorated:
        command = click.option(
            "--signature", type=PATH, metavar="FILE", help="A signature beside the archive, as `sign` writes it."
        )(command)
        command = click.option("--signer", metavar="ID", help="The one of them whose signature is wanted.")(command)
        return click.option(name, "trusted", metavar="ALLOWED_SIGNERS|KEY", help=help)(command)

    return decorated


def wanted_signature(
    name: str, trusted: str | None, signer: str | None, signature: Path | None
) -> WantedSignature | None:
    """Whose signature an archive must have, by those options. Raises UsageError, FileMissing."""
    if trusted is None:
        for option, value in (("--signer", signer), ("--signature", signature)):
            if value is not None:
                raise UsageError(f"{option} was given without {name}, which says whose signatures count")
        return None
    from pattern_stream.pipelines.signatures import WantedSignature
    from pattern_stream.transport.signers import trust

    if signature is not None and not signature.exists():
        raise FileMissing(f"signature {signature} is not there")
    return WantedSignature(trust(trusted, signer), signature)


def tell_signatures(session: Session, found: Sequence[JudgedSignature], root: str | None) -> None:
    """Whose signature over which root; of one that does not count, why, unless that is an error anyway."""
    for one in found:
        key = f"key {one.fingerprint}" + (f", {one.did}" if one.did else "")
        if one.signer is not None:
            say(session, f"signed by {plain(one.signer)} ({key}) over root {root}")
        elif one.good:
            say(session, f"signed with {key} over root {root}: {one.problem or 'nobody said whose keys count'}")
        else:
            tell(session, "warning", f"a signature is not good: {plain(one.problem or 'unknown')}")


def signing_key(path: Path, passphrase: Passphrase) -> MakeSignature:
    """What signs with the key in a file, which may have a passphrase."""
    from pattern_stream.transport.signers import signature_maker

    return signature_maker(path, passphrase.ask_old)


class Passphrase:
    """A passphrase that is asked for at most once, from the command in PASSPHRASE_COMMAND, else on the terminal."""

    def __init__(self) -> None:
        self._known: str | None = None

    async def ask(self) -> str:
        """The passphrase of an archive that is there. Raises KeyMissing."""
        if self._known is None:
            # Not in the pool, whose threads are waited for: Ctrl-C while nobody types ends the run.
            from pattern_stream.transport.blocking import PatientThread

            thread = PatientThread()
            try:
                self._known = await thread.run(_given, confirm=False)
            finally:
                thread.end()
        return self._known

    def ask_old(self) -> str:
        """The passphrase of a key that signs, at once. Raises KeyMissing."""
        if self._known is None:
            self._known = _given(confirm=False)
        return self._known

    def ask_new(self) -> str:
        """A passphrase for an archive to come, typed twice. Raises KeyMissing, UsageError."""
        self._known = _given(confirm=True)
        return self._known


def _given(*, confirm: bool) -> str:
    command = os.environ.get(PASSPHRASE_COMMAND)
    passphrase = _of_command(command) if command else _typed(confirm)
    if not passphrase:
        raise KeyMissing("the passphrase is empty, expected at least one character")
    return passphrase


def _of_command(command: str) -> str:
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS, check=True
        )
        return done.stdout.decode().removesuffix("\n").removesuffix("\r")
    except (ValueError, OSError, subprocess.SubprocessError, IndexError) as error:
        what = f"exit status {error.returncode}" if isinstance(error, subprocess.CalledProcessError) else str(error)
        # Not the command itself, which may hold a secret.
        raise KeyMissing(f"the command in {PASSPHRASE_COMMAND} gave no passphrase: {what}") from error


def _typed(confirm: bool) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        message = "a passphrase is wanted, and there is no terminal to ask on"
        raise KeyMissing(message, hint=f"{PASSPHRASE_COMMAND} names a command that prints it") from error
    passphrase = getpass("Passphrase: ")
    if confirm and getpass("Once more: ") != passphrase:
        raise UsageError("the two passphrases differ, expected the same one twice")
    return passphrase
