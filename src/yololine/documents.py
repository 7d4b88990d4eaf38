"""YAML that a person wrote: mistakes told by their line, and nothing that unfolds without end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from yololine.errors import YololineError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
"""Lists and mappings within each other; readers and writers of them recurse."""
MAX_VALUES = 100_000
"""Values in all, with each alias counted as what it stands for: ten lines of aliases make 10**9."""

_MEND = "mend the file"
_STANDARD_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, kw_only=True)
class Document:
    """A YAML document."""

    value: Any
    """Plain lists, mappings and scalars; None where the file is empty."""
    root: yaml.Node | None

    def line_of(self, *path: str | int) -> int:
        """Line, from 1, at which the value at this path of keys and indices begins."""
        node = self.root
        for step in path:
            match node:
                case yaml.MappingNode():
                    node = next(value for key, value in node.value if key.value == step)
                case yaml.SequenceNode() if isinstance(step, int):
                    node = node.value[step]
        return node.start_mark.line + 1 if node else 1


def read_document(
    data: bytes, where: str, refused: type[YololineError], *, as_written: bool = False
) -> Document:
    """Read one YAML document.

    Args:
        data: UTF-8, or UTF-16 with a byte order mark.
        where: What to call the file.
        refused: What to raise.
        as_written: Scalars stay text: `no` is no false, and 1.10 no 1.1.

    Raises:
        refused: It is too large, no text, no YAML of plain values, nests too deep, gives a key
            twice, or unfolds to too many values.
    """
    if len(data) > MAX_BYTES:
        raise refused(
            f"{where} ({len(data)} bytes)",
            rule=f"is larger than {MAX_BYTES} bytes",
            remedy="check that it is the right file",
        )
    text = _text(data, where, refused)
    try:
        loader: Any = (yaml.BaseLoader if as_written else yaml.SafeLoader)(text)
        root = loader.get_single_node()
        if root is None:
            return Document(value=None, root=None)
        _Walk(where, refused).measure(root)
        return Document(value=loader.construct_document(root), root=root)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        rule = f"is no YAML ({error.problem})"
        raise refused(f"{where}{line}", rule=rule, remedy=_MEND) from error
    except RecursionError as error:
        raise _too_deep(where, refused) from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, ValueError) as error:
        # Not YAMLErrors alone: PyYAML trips over dates that are none, such as 2026-13-45.
        rule = f"is no YAML ({str(error).splitlines()[0]})"
        raise refused(where, rule=rule, remedy=_MEND) from error


def _text(data: bytes, where: str, refused: type[YololineError]) -> str:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise refused(where, rule="is no UTF-8 text", remedy="save it as UTF-8") from error


def _too_deep(where: str, refused: type[YololineError]) -> YololineError:
    return refused(
        where,
        rule=f"nests lists and mappings deeper than {MAX_DEPTH}",
        remedy="check its brackets",
    )


class _Walk:
    """Measures a tree of nodes before any value is made of it."""

    def __init__(self, where: str, refused: type[YololineError]) -> None:
        self._where = where
        self._refused = refused
        self._values: dict[int, int] = {}

    def measure(self, node: yaml.Node, depth: int = 0) -> int:
        """How many values the node stands for."""
        if id(node) in self._values:
            return self._values[id(node)]
        if depth > MAX_DEPTH:
            raise _too_deep(self._where, self._refused)
        self._check_tag(node)
        # An alias within what it stands for would unfold for ever.
        self._values[id(node)] = MAX_VALUES
        values = 1 + sum(self.measure(child, depth + 1) for child in self._children(node))
        if values > MAX_VALUES:
            raise self._refused(
                self._at(node),
                rule=f"unfolds to more than {MAX_VALUES} values",
                remedy="write it without aliases (*name)",
            )
        self._values[id(node)] = values
        return values

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if not isinstance(node, yaml.MappingNode):
            return []
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise self._refused(
                        f"{self._at(key)}: {key.value}",
                        rule="is given twice",
                        remedy="keep one of them",
                    )
                seen.add(key.value)
        return [child for pair in node.value for child in pair]

    def _check_tag(self, node: yaml.Node) -> None:
        if not node.tag.startswith(_STANDARD_TAG) or "python" in node.tag:
            raise self._refused(
                self._at(node), rule=f"is no YAML of plain values ({node.tag})", remedy=_MEND
            )

    def _at(self, node: yaml.Node) -> str:
        return f"{self._where} line {node.start_mark.line + 1}"
