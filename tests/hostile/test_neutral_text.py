"""Names, labels and texts of an archive cannot drive a terminal, reorder a line or hide what it says, on any command.

Whoever makes an archive chooses every text in it. What people read shows such characters as escapes, on a terminal and
in a pipe alike, since a pipe may end on a terminal; JSON holds them as JSON escapes, so that a program reads what was
written. Lone surrogates cannot come from an archive: DAG-CBOR text is UTF-8, which has none (see `cbor`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import (
    Archive,
    agent_record,
    attachment_record,
    entry_record,
    group_record,
    member_record,
    memory_record,
    message_record,
)
from tests.cli.terminal import Outcome, call, on_terminal
from tests.memory.forging import forge

CLEAR, TITLE, CLIPBOARD = "\x1b[2J\x1b[1;31m", "\x1b]0;owned\x07", "\x1b]52;c;cm0gLXJm\x1b\\"
LINK = "\x1b]8;;http://x.test\x1b\\here\x1b]8;;\x1b\\"
ONE_BYTE = "\x9b31m\x90q\x85\x8d"
BIDI = "\u202eexe.txt\u202c\u2066a\u2069\u200f\u061c"
UNSEEN = "\u200b\ufeff\u2028\u2029\u00ad\U000e0041\ufff9"
OVERWRITE = "safe\rEVIL\x08\x0b\x0c\x7f\n\terror: not really"
EVIL = f"x{CLEAR}{TITLE}{CLIPBOARD}{LINK}{ONE_BYTE}{BIDI}{UNSEEN}{OVERWRITE}y"

HARMFUL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Everything but the end of a line that changes more than the place where it stands."""

PLAIN = ("--progress", "none")


def evil_archive(**group: Any) -> Archive:
    """A group with an agent, members that are not there, memory, messages: every text in it is hostile."""
    archive = Archive()
    (document,) = forge(f"text.push_str({EVIL!r})\nsnapshot()")
    agent = agent_record(
        EVIL,
        name=EVIL,
        description=EVIL,
        model_name=EVIL,
        model_provider=EVIL,
        system_prompt=EVIL,
        enabled_tools=[EVIL],
    )
    texts = {"label": EVIL, "description": EVIL, "metadata": {"schema": "Text", EVIL: EVIL}}
    memory = [
        (memory_record(EVIL, EVIL, content_preview=EVIL, **texts), [document]),
        (memory_record("b2", EVIL, content_preview=None, **texts | {"label": "b2"}), [document]),
    ]
    node = {
        "group": group_record(EVIL, name=EVIL, description=EVIL, pattern_config={EVIL: EVIL}) | group,
        "members": [member_record(EVIL, EVIL, role=None, capabilities=[EVIL]), member_record(f"{EVIL}2", EVIL)],
        "agent_exports": [
            archive.agent(
                agent,
                memory=memory,
                chunks=[[message_record(1, EVIL, id=EVIL, content_json={EVIL: EVIL}, content_preview=EVIL)]],
                entries=[entry_record(1, EVIL, content=EVIL, parent_entry_id=f"{EVIL}3")],
                inline=True,
            )
        ],
        "shared_memory_cids": [],
        "shared_attachment_exports": [attachment_record(EVIL, f"{EVIL}4")],
        EVIL: None,
    }
    return archive.finish("Group", archive.put_before(0, node), created_by=EVIL, **{EVIL: EVIL})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the command runs: an archive, a damaged one, one with a wrong field, and a database made of the first."""
    archive = evil_archive()
    (tmp_path / "evil.car").write_bytes(archive.to_bytes())
    (tmp_path / "cut.car").write_bytes(archive.to_bytes(archive.blocks[:-2]))
    (tmp_path / "wrong.car").write_bytes(evil_archive(pattern_type=EVIL).to_bytes())
    return tmp_path


def harm(text: str) -> list[str]:
    """What of a text would harm, with what stands around it."""
    shown = text.replace("\r\n", "\n")  # a terminal's own
    return [repr(shown[max(0, found.start() - 20) : found.end() + 20]) for found in HARMFUL.finditer(shown)]


LINES: dict[str, tuple[tuple[str, ...], int]] = {
    "verify": (("verify", "evil.car", "-v"), 0),
    "verify-cut": (("verify", "cut.car", "-v"), 4),
    "inspect": (("inspect", "evil.car"), 0),
    "inspect-wrong": (("inspect", "wrong.car"), 4),
    "dump": (("dump", "evil.car", "-v"), 0),
    "import-wrong": (("import", "wrong.car", "--db", "other.db"), 4),
    "import-not-there": (("import", "evil.car", "--db", "other.db", "--only", f"agent:{EVIL}5"), 6),
    "import-renamed": (("import", "evil.car", "--db", "other.db", "--rename", f"{EVIL}={EVIL}6", "-v"), 0),
    "file-not-there": (("verify", EVIL[:100]), 6),
}


@pytest.mark.parametrize("name", LINES)
def test_what_people_read_is_neutral(home: Path, name: str) -> None:
    """On a terminal and in a pipe: the hostile text is shown, and nothing of it acts."""
    line, exit_code = LINES[name]
    piped = call(home, *line, *PLAIN)
    (home / "other.db").unlink(missing_ok=True)
    ended, shown = on_terminal(home, [*line, *PLAIN], ("stdout", "stderr"), NO_COLOR="1")

    assert (exit_code, exit_code) == (piped.code, ended.code), piped.err
    assert [] == harm(piped.err) + harm(piped.out.decode())
    assert [] == harm(shown)
    assert "Traceback" not in piped.err
    assert "internal error" not in piped.err


def test_what_a_database_says_is_neutral(home: Path) -> None:
    """Imported once, the same texts come out of list, export and the conflicts of a second import."""
    runs: list[Callable[[], Outcome]] = [
        lambda: call(home, "import", "evil.car", "--db", "new.db", *PLAIN),
        lambda: call(home, "import", "evil.car", "--db", "new.db", *PLAIN),
        lambda: call(home, "list", "--db", "new.db"),
        lambda: call(home, "list", "blocks", "--db", "new.db"),
        lambda: call(home, "export", EVIL, "--scope", "agent", "--db", "new.db", "-o", "out.car", "-v", *PLAIN),
        lambda: call(home, "export", f"{EVIL}7", "--scope", "agent", "--db", "new.db", "-o", "out2.car", *PLAIN),
    ]
    found = [run() for run in runs]

    assert [0, 7, 0, 0, 0, 6] == [outcome.code for outcome in found], [outcome.err for outcome in found]
    assert [] == [part for outcome in found for part in harm(outcome.err) + harm(outcome.out.decode())]
    assert all("\\x1b[2J" in outcome.out.decode() + outcome.err for outcome in (found[1], found[2], found[3], found[5]))


@pytest.mark.parametrize("command", ["inspect", "dump"])
def test_json_keeps_what_was_written(home: Path, command: str) -> None:
    """A program gets the very text, by escapes: no harmful character stands in the document itself."""
    options = ("--json",) if command == "inspect" else ("agents",)
    outcome = call(home, command, "evil.car", *options, *PLAIN)
    found = json.loads(outcome.out)
    agent = found["agents"][0] if command == "inspect" else found

    assert [] == harm(outcome.out.decode())
    assert (EVIL, EVIL) == (agent["id"], agent["name"])


def test_json_of_a_failure_is_neutral(home: Path) -> None:
    """The error object too."""
    outcome = call(home, "inspect", "wrong.car", "--json", *PLAIN)

    assert 4 == outcome.code
    assert "malformed-node" == json.loads(outcome.out)["error"]["code"]
    assert [] == harm(outcome.out.decode())


def test_text_with_nul_is_no_end_of_text(home: Path) -> None:
    """A name with NUL inside is shown whole where it can be read, and does not cut what a database holds."""
    archive = Archive()
    name = "before\x00after"
    archive.finish("Agent", archive.agent(agent_record(name=name)))
    (home / "nul.car").write_bytes(archive.to_bytes())
    inspected = call(home, "inspect", "nul.car", *PLAIN)
    taken = call(home, "import", "nul.car", "--db", "nul.db", *PLAIN)
    listed = call(home, "list", "agents", "--db", "nul.db", "--json")

    assert (0, 0, 0) == (inspected.code, taken.code, listed.code), taken.err
    assert "before\\x00after" in inspected.out.decode()
    assert name == json.loads(listed.out)["agents"][0]["name"]
    assert [] == harm(inspected.out.decode()) + harm(listed.out.decode())
