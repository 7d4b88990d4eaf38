"""The code blocks of a Markdown page, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md")

_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block; `line` is where it begins in its page, from 1."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """As an editor opens it."""
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file it is: its first line is a comment with a file's name and nothing else."""
        named = _FILE.match(self.text)
        return named[1] if named else None


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command as it is typed, and what the page says it prints; empty where it says nothing."""

    where: str
    text: str
    output: str


def tokens(page: Path) -> list[Token]:
    """The page as Markdown, tables included."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """Every fenced block, in order."""
    return [
        Block(page=page, line=token.map[0] + 1, language=token.info.strip(), text=token.content)
        for token in tokens(page)
        if token.type == "fence" and token.map
    ]


def inline_code(page: Path) -> Iterator[str]:
    """Every `code` within a sentence or a table."""
    for token in tokens(page):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def commands(block: Block) -> list[Command]:
    """What a console block says to type: lines after `$ `, gone on with after `> `.

    Raises:
        ValueError: The block begins with something else.
    """
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.text.splitlines(), start=1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise ValueError(f"{block.where}: a console block begins with `$ `")
        elif line.startswith("> ") and not found[-1][2]:
            found[-1][1].append(line[2:])
        else:
            found[-1][2].append(line)
    return [
        Command(
            where=f"{block.page.name}:{block.line + number}",
            text="\n".join(typed),
            output="\n".join(output).strip("\n"),
        )
        for number, typed, output in found
    ]
