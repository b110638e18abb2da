"""Who lives in the demonstration: agents, groups, and the memory blocks they are to have, with the edits of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pattern_stream.demo.random_text import Voice
from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.schema.mapping.json_values import write_json

Step = tuple[Any, ...]
"""One step in the life of a document: an edit, or what the program does with it (persist, undo, reload, ...)."""

Schema = dict[str, Any]

TEXT: Final[Schema] = {"Text": {}}
NOTEBOOK: Final[Schema] = {"Text": {"viewport": {"start_line": 3, "display_lines": 8}}}
LIST: Final[Schema] = {"List": {"item_schema": None, "max_items": 40}}


def _field(name: str, kind: str, *, read_only: bool = False, default: object = None) -> dict[str, Any]:
    described = {"name": name, "description": f"what is known of {name}", "field_type": kind}
    return described | {"required": name == "name", "default": default, "read_only": read_only}


PROFILE: Final[Schema] = {
    "Map": {
        "fields": [
            _field("name", "Text"),
            _field("energy", "Number"),
            _field("travelling", "Boolean"),
            _field("habits", "List"),
            _field("seen", "Timestamp", read_only=True),
            _field("visits", "Counter", default=0),
        ]
    }
}
LOG: Final[Schema] = {
    "Log": {
        "display_limit": 6,
        "entry_schema": {"timestamp": True, "agent_id": True, "fields": [_field("noticed", "Text")]},
    }
}
BOARD: Final[Schema] = {
    "Composite": {
        "sections": [
            {"name": "today", "schema": PROFILE, "description": "the day at hand", "read_only": False},
            {"name": "rules", "schema": TEXT, "description": None, "read_only": True},
        ]
    }
}


@dataclass(frozen=True, slots=True)
class Person:
    """An agent of the demonstration. `share` of the messages."""

    name: str
    status: str
    share: float
    about: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A memory block to be: the document's life is `steps`, told to whoever can write documents."""

    id: str
    owner: str
    label: str
    kind: str
    schema: Schema | None
    seed: int
    steps: list[Step]
    permission: str = "read_write"
    is_active: bool = True

    @property
    def metadata(self) -> str | None:
        """The metadata column."""
        return None if self.schema is None else write_json({"schema": self.schema, "pages": len(self.steps)})


@dataclass(slots=True)
class World:
    """The cast."""

    people: list[Person]
    groups: dict[str, str]
    blocks: list[BlockPlan] = field(default_factory=list)

    def of(self, name: str) -> str:
        """The id of an agent by name."""
        return next(person.id for person in self.people if person.name == name)


_CAST: Final = (
    Person("Juniper", "active", 0.34, "keeps everybody's threads together"),
    Person("Quill", "active", 0.24, "writes down what would otherwise be lost"),
    Person("Tern", "active", 0.18, "plans journeys, errands and rests"),
    Person("Marrow", "active", 0.14, "reads long documents so that others need not"),
    Person("Ostler", "active", 0.09, "looks after the house and whatever is in it"),
    Person("Fen", "hibernated", 0.01, "remembers last winter"),
    Person("Sable", "archived", 0.0, "has retired, and has nothing"),
)
GROUPS: Final = {
    "Household": "supervisor",
    "Reading room": "round_robin",
    "Night watch": "sleeptime",
    "Jury": "voting",
    "Press": "pipeline",
    "Salon": "dynamic",
}


def build_world(voice: Voice, rounds: int) -> World:
    """The cast and all memory blocks, each with so many rounds of edits or more."""
    people = [Person(p.name, p.status, p.share, p.about, voice.hex()) for p in _CAST]
    world = World(people, {name: voice.hex() for name in GROUPS})
    for person in people[:-1]:
        world.blocks += (_plan(voice, person.id, *usual[:3], rounds, usual[3]) for usual in _USUAL)
    special: tuple[tuple[str, str, str, Schema | None, str], ...] = (
        (CONSTELLATION_OWNER, "weather", "working", TEXT, "plain"),
        (CONSTELLATION_OWNER, "house rules", "core", None, "consolidated"),
        (world.groups["Household"], "shopping", "working", LIST, "reloaded"),
        (people[0].id, "unused", "working", TEXT, "untouched"),
        (people[1].id, "doubts", "working", TEXT, "emptied"),
        (people[1].id, "drafts", "archival", TEXT, "branched"),
        (voice.hex(), "left behind", "working", TEXT, "plain"),
    )
    for owner, label, kind, schema, fate in special:
        world.blocks.append(_plan(voice, owner, label, kind, schema, rounds, fate))
    forgotten = _plan(voice, people[2].id, "old route", "working", TEXT, rounds, "plain", is_active=False)
    world.blocks.append(forgotten)
    return world


_USUAL: Final = (
    ("persona", "core", TEXT, "plain"),
    ("partner", "core", PROFILE, "undone"),
    ("tasks", "working", LIST, "reloaded"),
    ("observations", "log", LOG, "plain"),
    ("notebook", "working", NOTEBOOK, "redone"),
    ("board", "working", BOARD, "consolidated"),
)


def _plan(
    voice: Voice,
    owner: str,
    label: str,
    kind: str,
    schema: Schema | None,
    rounds: int,
    fate: str,
    *,
    is_active: bool = True,
) -> BlockPlan:
    edits = [_edits(voice, schema or TEXT, number) for number in range(rounds + voice.between(0, 3))]
    permission = "append" if kind == "log" else "human" if label == "partner" else "read_write"
    steps = _life(edits, fate)
    return BlockPlan(
        "mem_" + voice.hex(), owner, label, kind, schema, voice.random.getrandbits(48), steps, permission, is_active
    )


def _life(edits: list[list[Step]], fate: str) -> list[Step]:
    """The edits, each persisted, and what befalls the document between and after them."""
    if fate == "untouched":
        return []
    persisted: list[list[Step]] = [[*edit, ("persist",)] for edit in edits]
    half, last = len(persisted) // 2, persisted[-1]
    after: dict[str, list[Step]] = {
        "undone": [("undo",), ("undo",)],
        "redone": [("undo",), ("undo",), ("redo",)],
        "branched": [("undo",), *last, ("undo",), ("reload",), *last],
        "emptied": [("undo",)] * len(persisted),
    }
    between: dict[str, list[Step]] = {"consolidated": [("consolidate",)], "reloaded": [("reload",), ("persist",)]}
    lived = [*persisted[:half], between.get(fate, []), *persisted[half:], after.get(fate, [])]
    return [step for part in lived for step in part]


def _edits(voice: Voice, schema: Schema, number: int) -> list[Step]:
    (variant,) = schema
    if variant == "Map":
        return _map_edits(voice, number)
    if variant == "List":
        return _list_edits(voice, number)
    if variant == "Log":
        entry = {"timestamp": voice.moment(90 * number), "agent_id": voice.hex(), "noticed": voice.text(1)}
        return [("push", "entries", entry)]
    if variant == "Composite":
        rules: list[Step] = [("splice", "section_rules_content", -1, 0, voice.text(1) + "\n")]
        return [*rules, ("set", "section_today_fields", "name", voice.text(1))]
    return _text_edits(voice, number)


def _text_edits(voice: Voice, number: int) -> list[Step]:
    if number % 5 == 4:
        return [("splice", "content", 0, -1, voice.lines(4))]
    if number % 3 == 2:
        return [
            ("splice", "content", voice.between(0, 20), voice.between(0, 15), voice.pick("again ", "perhaps ", "…"))
        ]
    return [("splice", "content", -1, 0, voice.lines(voice.between(2, 6)) + "\n")]


def _map_edits(voice: Voice, number: int) -> list[Step]:
    always: list[Step] = [("set", "fields", "energy", voice.between(1, 9)), ("count", "counter_visits", 1)]
    if number % 2 == 0:
        always += [
            ("set", "fields", "name", voice.pick("Odalys", "Bram", "Ingrid")),
            ("push", "list_habits", voice.text(1)),
        ]
    seen = ("set", "fields", "seen", voice.moment(300 * number))
    return [*always, seen, ("set", "fields", "travelling", voice.chance(0.5))]


def _list_edits(voice: Voice, number: int) -> list[Step]:
    if number % 4 == 3:
        return [("put", "items", 0, {"text": voice.text(1), "done": True})]
    if number % 7 == 6:
        return [("drop", "items", 1)]
    if number % 2:
        return [("push", "items", voice.text(1)), ("push", "items", voice.between(1, 90) / 4)]
    return [("push", "items", {"text": voice.text(1), "done": voice.chance(0.3)})]
