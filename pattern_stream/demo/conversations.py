"""The conversations of the demonstration: message rows in the order of time, and summaries of the archived ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any, Final

from pattern_stream.demo.cast import BlockPlan, Person
from pattern_stream.demo.message_text import answered, arguments, asked, result
from pattern_stream.demo.random_text import MINUTE, START_AT, Dice, moment, snowflake
from pattern_stream.items import Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import write_json

MESSAGE_COLUMNS: Final = (
    "id", "agent_id", "position", "batch_id", "sequence_in_batch", "role", "content_json", "content_preview",
    "batch_type", "source", "source_metadata", "is_archived", "created_at", "is_deleted",
)  # fmt: skip
SUMMARY_COLUMNS: Final = (
    "id", "agent_id", "summary", "start_position", "end_position", "message_count", "previous_summary_id", "depth",
    "created_at",
)  # fmt: skip

ARCHIVED_SHARE: Final = 0.45
SUMMARIES_PER_AGENT: Final = 6
STORY_MINUTES: Final = 200 * 24 * 60
MINUTES_PER_MESSAGE: Final = 70

Turn = tuple[str, dict[str, Any], str | None]
"""Role, content and preview of one message."""


@dataclass(slots=True)
class Thread:
    """One agent's side: the messages archived since its last summary, and that summary."""

    person: Person
    blocks: list[BlockPlan]
    first: str = ""
    last: str = ""
    count: int = 0
    summary_id: str | None = None
    depth: int = 0


@dataclass(slots=True)
class Conversations:
    """So many messages among the people. `summaries` is complete when `rows` is exhausted."""

    dice: Dice
    people: list[Person]
    blocks: list[BlockPlan]
    total: int
    summaries: list[Row] = field(default_factory=list)
    _threads: list[Thread] = field(default_factory=list)
    _now: int = START_AT
    _made: int = 0

    def rows(self) -> Iterator[Row]:
        """Message rows, in order of position."""
        self._threads = [
            Thread(person, [block for block in self.blocks if block.owner == person.id]) for person in self.people
        ]
        shares = [person.share for person in self.people]
        while self._made < self.total:
            (thread,) = self.dice.random.choices(self._threads, shares)
            yield from self._exchange(thread)

    def _exchange(self, thread: Thread) -> Iterator[Row]:
        """One request and all that came of it: a batch."""
        self._now += int(self._gap() * MINUTE * (0.1 + 1.8 * self.dice.random.random()))
        kind, turns = self._turns(self.dice.language())
        about = self._about(kind, thread)
        batch = str(snowflake(self._now, 0))
        for number, turn in enumerate(turns):
            if self._made >= self.total:
                break
            self._now += 1_000_000 * self.dice.between(1, 9_000) + self.dice.between(0, 999_999)
            yield self._row(thread, batch, number, turn, kind, about)
        self._summarize(thread)

    def _gap(self) -> float:
        """Minutes between two exchanges, so that the story has its length whatever the number of messages."""
        messages_per_exchange = 3
        return messages_per_exchange * min(STORY_MINUTES / max(self.total, 1), MINUTES_PER_MESSAGE)

    def _row(self, thread: Thread, batch: str, number: int, turn: Turn, kind: str, about: str | None) -> Row:
        position = str(snowflake(self._now, number + 1))
        archived = self._made < self.total * ARCHIVED_SHARE
        self._made += 1
        if archived:
            thread.first, thread.last = thread.first or position, position
            thread.count += 1
        role, content, preview = turn
        source = {"agent_to_agent": "agent", "system_trigger": None}.get(kind, "cli")
        return (
            "msg_" + self.dice.hex(), thread.person.id, position, batch, number, role, write_json(content), preview,
            kind, source, about, int(archived), moment(self._now), int(self.dice.chance(0.02)),
        )  # fmt: skip

    def _summarize(self, thread: Thread) -> None:
        """A summary when enough is archived. Each third stands above the two before it."""
        share = self.total * ARCHIVED_SHARE * max(thread.person.share, 0.01)
        if thread.count < max(share / SUMMARIES_PER_AGENT, 8):
            return
        identity, text = "sum_" + self.dice.hex(), self.dice.text(6, self.dice.language())
        self.summaries.append(
            (
                identity, thread.person.id, text, thread.first, thread.last, thread.count,
                thread.summary_id, thread.depth, moment(self._now + 1_000),
            )
        )  # fmt: skip
        thread.summary_id, thread.depth = identity, thread.depth + 1
        thread.first, thread.count = "", 0

    def _about(self, kind: str, thread: Thread) -> str | None:
        """The source_metadata of a batch."""
        if kind == "system_trigger":
            return None
        if kind == "agent_to_agent" and thread.blocks:
            block = thread.blocks[self._made % len(thread.blocks)]
            refs = [{"label": block.label, "block_id": block.id, "agent_id": block.owner}]
            return write_json({"block_refs": refs, "timestamp": moment(self._now), "hops": 1})
        return write_json({"user_id": "partner", "conversation_id": f"kitchen-{self._made % 7}"})

    # --- the messages --------------------------------------------------------------------------------------------

    def _turns(self, language: str) -> tuple[str, list[Turn]]:
        """The kind of a batch and its messages, all in one language."""
        kind = self.dice.random.random()
        if kind < 0.70:
            return "user_request", [self._asked(language), *self._worked(language), self._answered(language)]
        if kind < 0.82:
            said = _text("user", answered(self.dice, language, 2, 5))
            return "agent_to_agent", [said, self._answered(language)]
        if kind < 0.94:
            said = _text("system", self.dice.text(self.dice.between(1, 2), language))
            return "system_trigger", [said, *self._worked(language), self._answered(language)]
        return "continuation", [self._answered(language), *self._worked(language)]

    def _asked(self, language: str) -> Turn:
        text = asked(self.dice, language)
        if not self.dice.chance(0.06):
            return _text("user", text)
        source = (
            {"Url": f"https://example.org/{self.dice.hex(32)}.png"} if self.dice.chance(0.8) else {"Base64": "aGk="}
        )
        image = {"content_type": "image/png", "source": source}
        return "user", {"Parts": [{"Text": text}, {"Image": image}]}, text

    def _answered(self, language: str) -> Turn:
        if self.dice.chance(0.55):
            return _text("assistant", answered(self.dice, language, 1, 5))
        thought, text = self.dice.text(self.dice.between(1, 2), language), answered(self.dice, language, 1, 3)
        blocks: list[dict[str, Any]] = [{"Thinking": {"text": thought, "signature": self.dice.hex(256)}}]
        if self.dice.chance(0.05):
            blocks.append({"RedactedThinking": {"data": self.dice.hex(512)}})
        return "assistant", {"Blocks": [*blocks, {"Text": {"text": text}}]}, f"{thought}\n{text}"

    def _worked(self, language: str) -> list[Turn]:
        """No tool, or some: a call and its response, in one of the two forms of the original."""
        if self.dice.chance(0.45):
            return []
        call, tool = f"call_{self.dice.hex(60)}", self.dice.pick("recall", "context", "search", "send_message")
        if self.dice.chance(0.6):
            found = result(self.dice, language, 6)
            called = {"call_id": call, "fn_name": tool, "fn_arguments": arguments(self.dice, language)}
            answer = {"ToolResponses": [{"call_id": call, "content": found}]}
            return [("assistant", {"ToolCalls": [called]}, None), ("tool", answer, found)]
        text, note = self.dice.text(1, language), {"label": "notebook", "content": self.dice.text(2, language)}
        use = {"ToolUse": {"id": call, "name": tool, "input": note}}
        found = result(self.dice, language, 5)
        used: dict[str, Any] = {"tool_use_id": call, "content": found, "is_error": self.dice.chance(0.04)}
        return [
            ("assistant", {"Blocks": [{"Text": {"text": text}}, use]}, text),
            ("tool", {"Blocks": [{"ToolResult": used}]}, None),
        ]


def _text(role: str, text: str) -> Turn:
    return role, {"Text": text}, text
