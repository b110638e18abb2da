"""What is said of the format stands in docs/: every citation leads to a heading there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENTS: Final = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")
DOCS: Final = tuple(sorted(path.name for path in (ROOT / "docs").glob("*.md")))
CITED: Final = re.compile(r"docs/([\w.-]+\.md)((?:#[\w-]+(?:,\s+(?=#))?)*)")
"""A document with any number of anchors: docs/, its name, #one, #another."""
OLD: Final = re.compile(
    r"Source:\s+(v\d|database|loro|legacy|design)\b|\b(v3|v4|database|loro|legacy|design) (intro|[A-E]?\d)"
)
"""Citations of notes that are not in this repository."""
LINKED: Final = re.compile(r"\]\((?!\w+:)([\w./-]*)(?:#([\w-]+))?\)")


def anchors(name: str) -> list[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(
        r"^```.*?^```", "", (ROOT / "docs" / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


ANCHORS: Final = {name: anchors(name) for name in DOCS}


def sources() -> Iterator[Path]:
    """All that may cite: the documents, the package and the tests."""
    yield from (ROOT / name for name in DOCUMENTS)
    yield from (
        path for room in ("pattern_stream", "tests", "examples", "benchmarks") for path in (ROOT / room).rglob("*.py")
    )


@pytest.mark.parametrize("name", DOCS)
def test_headings_are_unlike(name: str) -> None:
    """Every heading of a document has an anchor of its own."""
    assert len(ANCHORS[name]) == len(set(ANCHORS[name]))


def test_citations_lead_to_a_heading() -> None:
    """A file of docs/ and an anchor in it, wherever they are cited."""
    dead = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in sources()
        for found in CITED.finditer(path.read_text(encoding="utf-8"))
        if not set(re.findall(r"#([\w-]+)", found[2])) <= set(ANCHORS.get(found[1], ())) or found[1] not in ANCHORS
    ]

    assert [] == dead


def test_nothing_outside_is_cited() -> None:
    """A reader has this repository alone."""
    found = [
        f"{path.relative_to(ROOT)}: {old[0]}"
        for path in sources()
        if path != Path(__file__)
        for old in OLD.finditer(path.read_text(encoding="utf-8"))
    ]

    assert [] == found


@pytest.mark.parametrize("name", DOCS)
def test_links_between_the_docs_lead_to_a_heading(name: str) -> None:
    """A link to a section of the same document or of another one."""
    links = [
        (file or name, anchor) for file, anchor in LINKED.findall((ROOT / "docs" / name).read_text(encoding="utf-8"))
    ]

    assert [] == [link for link in links if link[0] not in ANCHORS or (link[1] and link[1] not in ANCHORS[link[0]])]
