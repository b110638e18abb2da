"""DAG-CBOR read head by head in plain Python: says what is wrong and where, and reads what is only untidy.

`dagcbor.decode` comes here when its fast way has failed, so this is written to be right and to be read. It holds no
recursion and allocates nothing for a length before that many bytes are there. Source: docs/format.md#dag-cbor.
"""

from __future__ import annotations

import struct
from math import isfinite
from typing import Any, Final, NoReturn

from pattern_stream.codec.cid import cid_parts, cid_text, describe_unsupported, is_supported
from pattern_stream.codec.link import Link
from pattern_stream.errors import MalformedBlock, MalformedSection, UnsupportedCid
from pattern_stream.format import CID_TAG, MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS, MAX_BLOCK_VALUES, MAX_DEPTH

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)
_KINDS: Final = ("integer", "negative integer", "byte string", "text", "array", "map", "tag", "simple value or float")

_LEAST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""The least argument that needs a head of this kind: 1, 2, 4, 8 bytes."""

_INDEFINITE: Final = 31
_SIMPLE: Final[dict[int, Any]] = {20: False, 21: True, 22: None}
_UNDEFINED: Final = 23
_SINGLE: Final = 26
_DOUBLE: Final = 27


def decode_with_diagnosis(data: bytes, *, any_cid: bool = False, strict: bool = True) -> Any:
    """The value of a block. Not strict: longer heads, any key order and 32 bit floats pass too, as the original reads.

    Raises:  MalformedBlock: what was found and expected, and at which byte of the block.
             UnsupportedCid: a link of another kind, unless `any_cid`.
    """
    reader = _DiagnosticDecoder(data, any_cid=any_cid, strict=strict)
    value = reader.value()
    if reader.at != len(data):
        reader.fail(f"{len(data) - reader.at} bytes after the value", "the end of the block")
    return value


class _OpenContainer:
    """A container with values still to come."""

    __slots__ = ("container", "key", "last_key", "left")

    def __init__(self, container: list[Any] | dict[str, Any], left: int) -> None:
        self.container = container
        self.left = left
        self.key = ""
        self.last_key: tuple[int, bytes] = (-1, b"")

    def put(self, value: Any) -> None:
        if isinstance(self.container, dict):
            self.container[self.key] = value
        else:
            self.container.append(value)
        self.left -= 1


class _DiagnosticDecoder:
    """A position in the bytes of one block; each method reads one thing there."""

    def __init__(self, data: bytes, *, any_cid: bool, strict: bool) -> None:
        self.at = 0
        self._data = data
        self._any_cid = any_cid
        self._strict = strict
        self._containers = 0
        self._values_left = MAX_BLOCK_VALUES if len(data) > MAX_BLOCK_BYTES else MAX_BLOCK_BYTES

    def fail(self, found: str, expected: str, at: int | None = None) -> NoReturn:
        raise MalformedBlock(f"{found}, expected {expected}, at byte {self.at if at is None else at} of the block")

    def value(self) -> Any:
        """The next value, whole."""
        stack: list[_OpenContainer] = []
        while True:
            if stack and isinstance(stack[-1].container, dict):
                self._key(stack[-1], stack[-1].container)
            value = self._item(len(stack))
            if isinstance(value, _OpenContainer):
                if value.left:
                    stack.append(value)
                    continue
                value = value.container
            while stack:
                stack[-1].put(value)
                if stack[-1].left:
                    break
                value = stack.pop().container
            else:
                return value

    def _item(self, depth: int) -> Any:
        """A scalar or link, or a container as far as its head."""
        start = self.at
        self._values_left -= 1
        if self._values_left < 0:
            self.fail(f"more than {MAX_BLOCK_VALUES} values in {len(self._data)} bytes", f"at most {MAX_BLOCK_VALUES}")
        if depth > MAX_DEPTH:
            self._fail_depth()
        major, info, argument = self._head()
        if major == _UNSIGNED:
            return argument
        if major == _NEGATIVE:
            return -1 - argument
        if major == _BYTES:
            return self._take(argument, "byte string")
        if major == _TEXT:
            return self._text(argument)
        if major == _OTHER:
            return self._other(info, argument, start)
        if major != _TAG:
            return self._open(major, argument, start)
        if depth == MAX_DEPTH:
            self._fail_depth()
        return self._link(argument, start)

    def _fail_depth(self) -> NoReturn:
        self.fail(f"nesting of more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH}")

    def _head(self) -> tuple[int, int, int]:
        """Major type, additional information, argument."""
        start = self.at
        initial = self._take(1, "value")[0]
        major, info = initial >> 5, initial & 0x1F
        if info < 24:
            return major, info, info
        if info == _INDEFINITE:
            found = "a break" if major == _OTHER else f"{_KINDS[major]} of indefinite length"
            self.fail(found, "a value of definite length", start)
        if info > _DOUBLE:
            self.fail(f"reserved head 0x{initial:02x}", "a value", start)
        argument = int.from_bytes(self._take(1 << (info - 24), "head"), "big")
        untidy = major != _OTHER and argument < _LEAST[info]
        if untidy and (self._strict or major == _TAG):
            self.fail(f"{_KINDS[major]} head of {self.at - start} bytes for {argument}", "its shortest form", start)
        return major, info, argument

    def _take(self, count: int, name: str) -> bytes:
        left = len(self._data) - self.at
        if count > left:
            self.fail(f"end of block after {left} bytes", f"{name} of {count} bytes")
        self.at += count
        return self._data[self.at - count : self.at]

    def _text(self, count: int) -> str:
        start = self.at
        try:
            return self._take(count, "text").decode()
        except UnicodeDecodeError as error:
            self.fail(f"text that is no UTF-8 ({error.reason})", "UTF-8", start + error.start)

    def _key(self, frame: _OpenContainer, container: dict[str, Any]) -> None:
        start = self.at
        major, _, count = self._head()
        if major != _TEXT:
            self.fail(f"{_KINDS[major]} as a map key", "text", start)
        key = self._text(count)
        order = (count, self._data[self.at - count : self.at])
        if key in container:
            self.fail(f"map key {key!r} twice", "each once", start)
        if self._strict and order < frame.last_key:
            self.fail(f"map key {key!r} after {frame.key!r}", "shorter keys first, then bytewise order", start)
        frame.key, frame.last_key = key, order

    def _open(self, major: int, count: int, start: int) -> _OpenContainer:
        left = len(self._data) - self.at
        least = count * 2 if major == _MAP else count
        if least > left:
            self.fail(f"{_KINDS[major]} of {count} but {left} bytes left", f"at least {least} bytes", start)
        self._containers += 1
        if self._containers > MAX_BLOCK_CONTAINERS:
            self.fail(f"more than {MAX_BLOCK_CONTAINERS} arrays and maps", f"at most {MAX_BLOCK_CONTAINERS}", start)
        return _OpenContainer({} if major == _MAP else [], count)

    def _link(self, tag: int, start: int) -> Link:
        if tag != CID_TAG:
            self.fail(f"tag {tag}", f"no tag but {CID_TAG} (a link)", start)
        major, _, count = self._head()
        if major != _BYTES:
            self.fail(f"{_KINDS[major]} in a link", "byte string", start)
        content = self._take(count, "link")
        if not content.startswith(b"\x00"):
            self.fail(f"link starting with {content[:1].hex() or 'nothing'}", "00 (identity multibase)", start)
        cid = content[1:]
        if is_supported(cid):
            return Link(cid)
        try:
            cid_parts(cid)
        except MalformedSection as error:
            raise MalformedBlock(f"link without a CID at byte {start} of the block: {error.message}") from error
        if self._any_cid:
            return Link(cid)
        raise UnsupportedCid(f"link to {cid_text(cid)} at byte {start} of the block: {describe_unsupported(cid)}")

    def _other(self, info: int, argument: int, start: int) -> Any:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info == _DOUBLE or (info == _SINGLE and not self._strict):
            return self._float(start)
        if info < 25:
            found = "undefined" if argument == _UNDEFINED else f"simple value {argument}"
            self.fail(found, "false, true, null or a float", start)
        return self.fail(f"float of {8 << (info - 24)} bits", "64 bits", start)

    def _float(self, start: int) -> float:
        raw = self._data[start + 1 : self.at]
        number: float = struct.unpack(">d" if len(raw) == 8 else ">f", raw)[0]
        if not isfinite(number):
            self.fail(f"float {number}", "a finite number", start)
        return number
