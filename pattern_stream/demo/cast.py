"""Who lives in the demonstration: agents, groups, and the memory blocks they are to have, with the edits of each."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final

from pattern_stream.demo.languages import LANGUAGES
from pattern_stream.demo.random_text import Dice
from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import write_json

Step = tuple[Any, ...]
"""One step in the life of a document: an edit, or an act of the program (persist, undo, reload, ...)."""

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
    """A memory block to be: the document's life is `steps`, written by the sandbox."""

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


def build_world(dice: Dice, rounds: int) -> World:
    """The cast and all memory blocks, each with so many rounds of edits or more."""
    people = [Person(p.name, p.status, p.share, p.about, dice.hex()) for p in _CAST]
    world = World(people, {name: dice.hex() for name in GROUPS})
    for person in people[:-1]:
        world.blocks += (_plan(dice, person.id, *usual[:3], rounds, usual[3]) for usual in _USUAL)
    special: tuple[tuple[str, str, str, Schema | None, str], ...] = (
        (CONSTELLATION_OWNER, "weather", "working", TEXT, "plain"),
        (CONSTELLATION_OWNER, "house rules", "core", None, "consolidated"),
        (world.groups["Household"], "shopping", "working", LIST, "reloaded"),
        (people[0].id, "unused", "working", TEXT, "untouched"),
        (people[1].id, "doubts", "working", TEXT, "emptied"),
        (people[1].id, "drafts", "archival", TEXT, "branched"),
        (dice.hex(), "left behind", "working", TEXT, "plain"),
    )
    for owner, label, kind, schema, ending in special:
        world.blocks.append(_plan(dice, owner, label, kind, schema, rounds, ending))
    forgotten = _plan(dice, people[2].id, "old route", "working", TEXT, rounds, "plain", is_active=False)
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
    dice: Dice,
    owner: str,
    label: str,
    kind: str,
    schema: Schema | None,
    rounds: int,
    ending: str,
    *,
    is_active: bool = True,
) -> BlockPlan:
    edits = [_edits(dice, schema or TEXT, number) for number in range(rounds + dice.between(0, 3))]
    permission = "append" if kind == "log" else "human" if label == "partner" else "read_write"
    steps = _life(edits, ending)
    return BlockPlan(
        "mem_" + dice.hex(), owner, label, kind, schema, dice.random.getrandbits(48), steps, permission, is_active
    )


def _life(edits: list[list[Step]], ending: str) -> list[Step]:
    """The edits, each persisted, and the events of its life between and after them."""
    if ending == "untouched":
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
    lived = [*persisted[:half], between.get(ending, []), *persisted[half:], after.get(ending, [])]
    return [step for part in lived for step in part]


def _edits(dice: Dice, schema: Schema, number: int) -> list[Step]:
    (variant,) = schema
    if variant == "Map":
        return _map_edits(dice, number)
    if variant == "List":
        return _list_edits(dice, number)
    if variant == "Log":
        language = tuple(LANGUAGES)[number % len(LANGUAGES)]
        entry = {"timestamp": dice.moment(90 * number), "agent_id": dice.hex(), "noticed": dice.text(1, language)}
        return [("push", "entries", entry)]
    if variant == "Composite":
        rules: list[Step] = [("splice", "section_rules_content", -1, 0, dice.text(1) + "\n")]
        return [*rules, ("set", "section_today_fields", "name", dice.text(1))]
    return _text_edits(dice, number)


def _text_edits(dice: Dice, number: int) -> list[Step]:
    if number % 5 == 4:
        return [("splice", "content", 0, -1, dice.lines(4))]
    if number % 3 == 2:
        return [("splice", "content", dice.between(0, 20), dice.between(0, 15), dice.pick("again ", "perhaps ", "…"))]
    return [("splice", "content", -1, 0, dice.lines(dice.between(2, 6)) + "\n")]


def _map_edits(dice: Dice, number: int) -> list[Step]:
    always: list[Step] = [("set", "fields", "energy", dice.between(1, 9)), ("count", "counter_visits", 1)]
    if number % 2 == 0:
        always += [
            ("set", "fields", "name", dice.pick("Odalys", "Bram", "Ingrid")),
            ("push", "list_habits", dice.text(1)),
        ]
    seen = ("set", "fields", "seen", dice.moment(300 * number))
    return [*always, seen, ("set", "fields", "travelling", dice.chance(0.5))]


def _list_edits(dice: Dice, number: int) -> list[Step]:
    if number % 4 == 3:
        return [("put", "items", 0, {"text": dice.text(1), "done": True})]
    if number % 7 == 6:
        return [("drop", "items", 1)]
    if number % 2:
        return [("push", "items", dice.text(1)), ("push", "items", dice.between(1, 90) / 4)]
    return [("push", "items", {"text": dice.text(1), "done": dice.chance(0.3)})]
