"""No refusal without an entry on the page of error texts, and no entry without a refusal."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT, tokens
from tests.docs.refusals import rules

PAGE = ROOT / "docs" / "troubleshooting.md"
OTHERS = "## What others say"
"""From this heading on: messages of Kubeflow and Kubernetes."""
RULES = rules()


def _entries() -> list[str]:
    """The page's list items that are a text in backquotes and nothing else, up to the heading."""
    end = PAGE.read_text(encoding="utf-8").splitlines().index(OTHERS)
    found = []
    before = ""
    for token in tokens(PAGE):
        if token.type == "inline" and token.map and token.map[0] < end and before == "in a list":
            words = token.children or []
            if [word.type for word in words] == ["code_inline"]:
                found.append(words[0].content)
        before = "in a list" if token.type == "paragraph_open" and token.level == 2 else ""
    return found


ENTRIES = _entries()


def _covers(entry: str, rule: str) -> bool:
    pattern = re.escape(entry).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, rule) is not None


def test_every_refusal_of_the_source_is_found_on_the_page() -> None:
    """Add what is missing to the entry that it belongs to, or write one."""
    missing = {
        rule: where
        for rule, where in RULES.items()
        if not any(_covers(entry, rule) for entry in ENTRIES)
    }
    assert missing == {}


def test_every_entry_of_the_page_is_a_refusal_of_the_source() -> None:
    stale = [entry for entry in ENTRIES if not any(_covers(entry, rule) for rule in RULES)]
    assert stale == []


def test_an_entry_says_enough_to_be_looked_for() -> None:
    assert [entry for entry in ENTRIES if sum(map(str.isalpha, entry)) < 5] == []


def test_no_entry_stands_twice() -> None:
    assert len(set(ENTRIES)) == len(ENTRIES)


def test_the_reader_follows_a_rule_to_its_words() -> None:
    """One of each way in which the source words a rule."""
    assert "is no parameter of this pipeline" in RULES  # as it stands
    assert "cannot be read (...)" in RULES  # with what only a run knows
    assert "is no optimizer" in RULES  # handed to a helper
    assert "... denies access" in RULES  # in a table
    assert "a seed is not negative" in RULES  # in a loop
    assert "... accepts no connection" in RULES  # returned by a function
    assert len(RULES) > 150
