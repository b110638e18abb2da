"""Part "extremes": what outgrows a block. A million entries of one agent, a cell of 256 MB: memory must not follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from benchmarks import corpus
from benchmarks.commands import NOWHERE
from benchmarks.contender import Contender, Work
from benchmarks.harness import Figure, Run, interleaved, tasks_of, timed
from benchmarks.import_lines import import_into, missing

KINDS: dict[str, tuple[str, Callable[[], Path]]] = {
    "entries": ("an agent with a million entries", corpus.million_entries),
    "cell": ("a message of 256 MB", corpus.large_cell),
}


def _export(make: Callable[[], Path]) -> Callable[[int], Work]:
    def prepare(_messages: int) -> Work:
        from pattern_stream.pipelines.exporting import ExportOptions, export_archive

        path, options = make(), ExportOptions(force=True)

        def work() -> None:
            asyncio.run(export_archive(path, NOWHERE, options=options))

        return work

    return prepare


def _verify(make: Callable[[], Path]) -> Callable[[int], Work]:
    def prepare(_messages: int) -> Work:
        from pattern_stream.pipelines.verifying import verify_archive

        packed = corpus.archive_of(make())

        def work() -> None:
            if not asyncio.run(verify_archive(packed)).ok:
                raise SystemExit(f"error: {packed} is not sound")

        return work

    return prepare


def _import(make: Callable[[], Path]) -> Callable[[int], Work]:
    return import_into(missing, lambda _messages: corpus.archive_of(make()))


CONTENDERS = tuple(
    Contender(f"{kind}-{name}", f"{name}, {label}", prepare(make))
    for kind, (label, make) in KINDS.items()
    for name, prepare in (("export", _export), ("verify", _verify), ("import", _import))
)


def child(name: str, messages: int) -> list[Run]:
    """One run of one contender."""
    (contender,) = (each for each in CONTENDERS if each.name == name)
    return [timed(name, contender.prepare(messages), command=False)]


def measure(rounds: int) -> list[Figure]:
    """Every one of them."""
    for _, make in KINDS.values():
        corpus.archive_of(make())
    tasks, _ = tasks_of("extremes", CONTENDERS, corpus.OUTGROWN_MESSAGES, rounds)
    return interleaved(tasks, warm_up=False)
