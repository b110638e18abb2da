"""How many async generators a batch of messages passes on its way, out and in: each costs time for every batch."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from pattern_stream.budget import Budget
from pattern_stream.demo.database import make_demo
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive
from pattern_stream.pipelines.verifying import verify_archive
from tests.drive import dribble

pytestmark = pytest.mark.anyio

MOST_GENERATORS: Final = 10
MOST_IN_DB: Final = 4
BUDGET: Final = Budget(least_messages=1, least_file_bytes=1, least_chunk_bytes=1, least_prefetch_bytes=1)
ROOT: Final = Path(inspect.getfile(make_demo)).parents[1]


def generators_around(frame: FrameType | None) -> list[str]:
    """The async generators of the package that wait for what this frame yields, the innermost first."""
    found = []
    while frame is not None:
        place = Path(frame.f_code.co_filename)
        if frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR and place.is_relative_to(ROOT):
            found.append(f"{place.relative_to(ROOT)}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found


async def deepest(run: Callable[[], Awaitable[object]]) -> list[str]:
    """The longest chain of async generators through which anything was yielded while this ran."""
    chains: list[list[str]] = [[]]

    def watch(frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and type(value).__name__ == "async_generator_wrapped_value":
            chains.append(generators_around(frame))

    sys.setprofile(watch)
    try:
        await run()
    finally:
        sys.setprofile(None)
    return max(chains, key=len)


def require_shallow(chain: list[str]) -> None:
    """Few generators in all, and few inside the database's room."""
    assert 3 < len(chain) <= MOST_GENERATORS, chain
    assert sum(place.startswith("db/") for place in chain) <= MOST_IN_DB, chain


async def test_a_batch_passes_few_generators(tmp_path: Path) -> None:
    """On its way out, with and without workers that read ahead; in, with all that may change it, into a database of its
    own and a living one; through verify.
    """
    database, archive = tmp_path / "a.db", tmp_path / "a.car"
    await make_demo(database, messages=60)
    everything = ImportOptions(
        new_ids=True,
        only=("agent:Quill", "group:Household"),
        owner="Quill",
        renames=(("Quill", "Wren"),),
        budget=BUDGET,
    )

    living = replace(everything, only=("agent:Quill",))

    for options in (ExportOptions(force=True), ExportOptions(force=True, budget=BUDGET)):
        require_shallow(await deepest(lambda: export_archive(database, archive, options=options)))  # noqa: B023
    packed = archive.read_bytes()
    for run in (
        lambda: import_archive(dribble(packed, 9_000), tmp_path / "b.db", options=ImportOptions(budget=BUDGET)),
        lambda: import_archive(dribble(packed, 9_000), tmp_path / "c.db", options=everything),
        lambda: import_archive(dribble(packed, 9_000), tmp_path / "b.db", options=living),
        lambda: verify_archive(dribble(packed, 9_000), against=database, both_ways=True, budget=BUDGET),
    ):
        require_shallow(await deepest(run))
