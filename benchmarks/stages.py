"""Part "stages": every stage of the line by itself, at 1, 10 and 100 times the size, beside its floor."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks import stages_in, stages_out
from benchmarks.alone import Alone
from benchmarks.corpus import DEMO, Corpus
from benchmarks.harness import Figure, Run, Task, interleaved

TIMES = (1, 10, 100)
REPEATED_SECONDS = 1.0
MOST_REPEATS = 9
"""A small size is done again and again in one process, and its median counts: this often, or this long."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: `label` is its public name, `sized` whether bytes go through it.

    `floor`: the plain way to do the part of its work that nobody can leave out, which stands beside it. (`write_rows`
    is quicker than its own, since it indexes text afterwards.)
    """

    name: str
    label: str
    measure: Callable[[Corpus], Awaitable[Alone]]
    floor: str = ""
    sized: bool = False


STAGES = (
    Stage("source", "`read_scope`", stages_out.source, "`sqlite3` fetch"),
    Stage("folding", "`fold_memory`", stages_out.folding),
    Stage("mapping", "`map_rows`", stages_out.mapping, "`orjson.loads`, `dict`"),
    Stage("chunking", "`chunk`", stages_out.chunking, "`libipld.encode_dag_cbor`", sized=True),
    Stage("encoding", "`encode`", stages_out.encoding, "join, `blake3`", sized=True),
    Stage("writing", "`write_car`", stages_out.writing, "file written and read", sized=True),
    Stage("unwrapping", "`unwrap`", stages_in.unwrapping, "`zlib`", sized=True),
    Stage("reading", "`read_sections`", stages_in.reading, "`blake3`", sized=True),
    Stage("walking", "`walk`", stages_in.walking, "`libipld.decode_dag_cbor`", sized=True),
    Stage("unchunking", "`unchunk`", stages_in.unchunking),
    Stage("checking", "`check_documents`", stages_in.checking),
    Stage("translating", "`translate`", stages_in.translating),
    Stage("unmapping", "`unmap_records`", stages_in.unmapping, "`orjson.dumps`, `tuple`"),
    Stage("sinking", "`write_rows`", stages_in.sinking, "`executemany`"),
)


def child(name: str, corpus: Corpus) -> list[Run]:
    """One stage at one size: the stage, and where there is one its floor."""
    from pattern_stream.pipelines.gc_tuning import few_collections

    (stage,) = (each for each in STAGES if each.name == name)
    counts = {"bytes": float(corpus.archive().stat().st_size)} if stage.sized else {}
    with few_collections():
        found = _repeated(stage, corpus)
    if found[0].documents is not None:
        counts["documents"] = found[0].documents
    runs = [Run(name, statistics.median(one.seconds for one in found), counts=counts)]
    floors = [one.floor_seconds for one in found if one.floor_seconds is not None]
    return [*runs, Run(f"{name}-floor", statistics.median(floors), counts=counts)] if floors else runs


def _repeated(stage: Stage, corpus: Corpus) -> list[Alone]:
    async def once() -> Alone:
        return await stage.measure(corpus)

    found: list[Alone] = []
    until = time.perf_counter() + REPEATED_SECONDS
    while not found or (len(found) < MOST_REPEATS and time.perf_counter() < until):
        found.append(asyncio.run(once()))
    return found


def sizes(messages: int) -> tuple[int, ...]:
    """1, 10 and 100 times, up to so many messages."""
    return tuple(max(messages * times // max(TIMES), 1) for times in TIMES)


def measure(messages: int, rounds: int) -> list[Figure]:
    """Every stage at every size."""
    corpora = [Corpus(DEMO, size) for size in sizes(messages)]
    for corpus in corpora:
        corpus.gzipped()
    tasks = [Task("stages", stage.name, corpus, rounds) for corpus in corpora for stage in STAGES]
    return interleaved(tasks, warm_up=False)
