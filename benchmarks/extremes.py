"""Part "extremes": what outgrows a block. A million entries of one agent, a cell of 256 MB: memory must not follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import corpus
from benchmarks.commands import PROGRAM, exporting, importing, pipeline
from benchmarks.contender import Contender, Work
from benchmarks.corpus import DEMO, Corpus
from benchmarks.harness import Figure, Run, interleaved, tasks_of, timed

KINDS: dict[str, tuple[str, Callable[[], Path]]] = {
    "entries": ("an agent with a million entries", corpus.million_entries),
    "cell": ("a message of 256 MB", corpus.large_cell),
}


def _export(make: Callable[[], Path]) -> Work:
    path = make()
    return lambda: pipeline(exporting(path))


def _verify(make: Callable[[], Path]) -> Work:
    packed = corpus.archive_of(make())
    return lambda: pipeline([*PROGRAM, "verify", "-q", packed])


def _import(make: Callable[[], Path]) -> Work:
    packed, made = corpus.archive_of(make()), corpus.target()
    return lambda: pipeline(importing(packed, made))


CONTENDERS = tuple(
    Contender(f"{kind}-{name}", f"{name}, {label}", lambda _corpus, prepare=prepare, make=make: prepare(make))  # type: ignore[misc]
    for kind, (label, make) in KINDS.items()
    for name, prepare in (("export", _export), ("verify", _verify), ("import", _import))
)


def child(name: str, small: Corpus) -> list[Run]:
    """One run of one contender."""
    (contender,) = (each for each in CONTENDERS if each.name == name)
    return [timed(name, contender.prepare(small))]


def measure(rounds: int) -> list[Figure]:
    """Every one of them."""
    for _, make in KINDS.values():
        corpus.archive_of(make())
    tasks, _ = tasks_of("extremes", CONTENDERS, Corpus(DEMO, corpus.OUTGROWN_MESSAGES), rounds)
    return interleaved(tasks, warm_up=False)
