"""Pages of docs/ that are made from code: kept current, and their tables."""

import argparse
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def keep_current(page: Path, text: str, description: str | None) -> int:
    """Write a page that differs, or with the option `--check` say so and return 1."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return 0
    name = page.relative_to(DOCS.parent)
    if check:
        print(f"{name} is not current: run make fix")
        return 1
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, encoding="utf-8")
    print(f"{name} written")
    return 0
