from __future__ import annotations

from typing import Any

import pytest

from yololine.documents import MAX_BYTES, read_document
from yololine.errors import DatasetError, UsageError

LAUGHS = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)
)


def _value(text: str | bytes, **options: Any) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return read_document(data, "it.yaml", UsageError, **options).value


@pytest.mark.parametrize(
    ("text", "value", "as_written"),
    [
        ("", None, None),
        ("# nothing", None, None),
        ("a: [no, 1.10, 010]", {"a": [False, 1.1, 8]}, {"a": ["no", "1.10", "010"]}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}, {"a": {"b": "1"}, "c": {"b": "1"}}),
        ("\ufeffa: ä", {"a": "ä"}, {"a": "ä"}),
        ("a: ä".encode("utf-16"), {"a": "ä"}, {"a": "ä"}),
    ],
)
def test_what_is_read(text: str | bytes, value: Any, as_written: Any) -> None:
    assert _value(text) == value
    assert _value(text, as_written=True) == as_written


@pytest.mark.parametrize("as_written", [False, True])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2", r"^it\.yaml line 2: is no YAML \(expected ',' or ']'"),
        ("a:\n\tb: 1", r"line 2: is no YAML \(found character '\\t'"),
        ("a: 1\n---\nb: 2", r"line 2: is no YAML \(but found another document"),
        ("a: *b", "undefined alias 'b'"),
        ("\0", r"^it\.yaml: is no YAML \(unacceptable character"),
        (b"a: \xff", r"^it\.yaml: is no UTF-8 text; save it as UTF-8"),
        ("a: 1\nb: 2\na: 3", "line 3: a: is given twice; keep one of them"),
        ("x:\n  - {b: 1, b: 2}", "line 2: b: is given twice"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: is no YAML of plain values"),
        ("a: !mine 1", "is no YAML of plain values"),
        ("? [a]\n: 1", "is no YAML"),
        ("[" * 5000, "nests lists and mappings deeper than 32"),
        ("- " * 40 + "x", "nests lists and mappings deeper than 32"),
        (LAUGHS, "line 6: unfolds to more than 100000 values; write it without aliases"),
        ("a: &a [1, *a]", "unfolds to more than"),
        ("a: " + "x" * MAX_BYTES, r"it\.yaml \(1048579 bytes\): is larger than 1048576 bytes"),
    ],
)
def test_what_is_refused(text: str | bytes, words: str, as_written: bool) -> None:
    with pytest.raises(UsageError, match=words):
        _value(text, as_written=as_written)


@pytest.mark.parametrize("text", ["a: 2026-13-45", "a: !!int x", "a: !!timestamp x", "a: !!bool x"])
def test_what_only_looks_like_a_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^it\.yaml: is no YAML \("):
        _value(text)


def test_the_caller_says_what_is_raised() -> None:
    with pytest.raises(DatasetError):
        read_document(b"[", "it.yaml", DatasetError)


def test_every_value_has_a_line() -> None:
    document = read_document(b"a: 1\nb:\n- c\n- d:\n    e: 2\n", "it.yaml", UsageError)
    assert document.line_of() == 1
    assert document.line_of("a") == 1
    assert document.line_of("b", 0) == 3
    assert document.line_of("b", 1, "d", "e") == 5
    assert read_document(b"", "it.yaml", UsageError).line_of() == 1
