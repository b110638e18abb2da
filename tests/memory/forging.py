"""Documents for tests, made in a process of their own: this one never loads Loro."""

from __future__ import annotations

import subprocess
import sys

ABORTS = bytes.fromhex(
    "6c6f726f0000000000000000000000002ae23d6800043b0001000101100101000000000000000101ffffffff0f0000000005010000010006"
    "01040100000204016b016d000e0104020100f7010002010b0201017b0100"
)
"""The smallest known blob that aborts Loro on import: 86 bytes. Source: docs/memory.md#hostile-documents."""

_PRELUDE = """
import sys, threading
from loro import ExportMode, LoroDoc, VersionVector
doc = LoroDoc()
doc.peer_id = 7
text, items = doc.get_text("content"), doc.get_list("items")
parts = []
def snapshot():
    doc.commit()
    parts.append(doc.export(ExportMode.Snapshot()))
def update(since):
    doc.commit()
    parts.append(doc.export(ExportMode.Updates(since)))
def run():
    exec(sys.argv[1], globals())
threading.stack_size(512 << 20)
thread = threading.Thread(target=run)
thread.start()
thread.join()
sys.stdout.buffer.write(len(parts).to_bytes(4))
for part in parts:
    sys.stdout.buffer.write(len(part).to_bytes(4) + part)
"""


def forge(steps: str) -> list[bytes]:
    """The blobs that some lines of Python gave to `snapshot` and `update`."""
    out = subprocess.run([sys.executable, "-c", _PRELUDE, steps], stdout=subprocess.PIPE, check=True).stdout
    count, at, parts = int.from_bytes(out[:4]), 4, []
    for _ in range(count):
        size = int.from_bytes(out[at : at + 4])
        parts.append(out[at + 4 : at + 4 + size])
        at += 4 + size
    return parts


def forge_edits(*texts: str) -> list[bytes]:
    """One update for each text, appended one after the other; each builds on those before it."""
    lines = ["since = VersionVector()"]
    for added in texts:
        lines += [f"text.push_str({added!r})", "update(since)", "since = doc.oplog_vv"]
    return forge("\n".join(lines))


def forge_nested(levels: int) -> bytes:
    """A snapshot with a value nested so deep."""
    (made,) = forge(f"value = None\nfor _ in range({levels}): value = [value]\nitems.push(value)\nsnapshot()")
    return made


def forge_nulls(count: int) -> tuple[bytes, bytes]:
    """A list of nulls, as updates (quadratic to import) and as a snapshot."""
    updates, made = forge(f"for _ in range({count}): items.push(None)\nupdate(VersionVector())\nsnapshot()")
    return updates, made


def forge_bomb(length: int) -> bytes:
    """A snapshot of a text of one letter, many times smaller than the text."""
    (made,) = forge(f"text.push_str('a' * {length})\nsnapshot()")
    return made
