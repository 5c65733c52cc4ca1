"""Every link of the pages leads somewhere, as far as that can be told without a network."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

FENCE = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]*(?:\([^()\s]*\))?[^()\s]*)\)")
DIRECTIVE = re.compile(r"^```\{(?:figure|include|literalinclude|image)\} (\S+)", re.MULTILINE)
PATH = re.compile(
    r"(?<![\w./-])(?:docs|examples|tests|benchmarks|tools|bayestrans)/[\w./-]*\.(?:py|md|sh|toml|png|txt)\b"
)
URL = re.compile(r"https?://[^\s)>\"'`\]]+")


def prose(text: str) -> str:
    """Return a page without its code."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", text))


def anchor(heading: str) -> str:
    """Return the anchor of a heading as GitHub and MyST make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings; a repeated one is numbered."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+)$", FENCE.sub("", text), re.MULTILINE):
        name, count = anchor(heading), 0
        while name in found:
            count += 1
            name = f"{anchor(heading)}-{count}"
        found.add(name)
    return found


def faults(path: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    wrong = []
    for link in LINK.findall(prose(text)):
        if urlsplit(link).scheme:
            continue
        target, _, name = link.partition("#")
        place = (path.parent / target).resolve() if target else path
        if place != path and not place.exists():
            wrong.append(f"{link}: no such file")
        elif name:
            there = text if place == path else place.read_text("utf-8")
            if name not in anchors(there):
                wrong.append(f"{link}: no such heading")
    wrong += [
        f"{name}: no such file"
        for name in DIRECTIVE.findall(text)
        if not (path.parent / name).exists()
    ]
    wrong += [f"{name}: no such file" for name in PATH.findall(text) if not (ROOT / name).exists()]
    for url in URL.findall(text):
        parts = urlsplit(url)
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc):
            wrong.append(f"{url}: no host")
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_and_paths_of_a_page_resolve(path):
    assert faults(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", sorted((ROOT / "bayestrans").glob("*.py")), ids=lambda p: p.stem)
def test_pages_that_docstrings_name_are_there(path):
    assert [
        name for name in PATH.findall(path.read_text("utf-8")) if not (ROOT / name).exists()
    ] == []


def test_wrong_links_are_found():
    text = (
        "# A heading\n[a](#a-heading) [b](nothing.md) [c](README.md#nothing) [d](#b)\n"
        "`docs/nothing.md` https:///nowhere `[e](code.md)`\n```\n[f](code.md)\n```\n"
    )
    found = faults(ROOT / "page.md", text)
    assert [fault.split(":")[0] for fault in found] == [
        "nothing.md", "README.md#nothing", "#b", "docs/nothing.md", "https",
    ]  # fmt: skip


def test_anchors_are_those_of_the_build():
    text = "# What's new: `x`, and [that](there.md)\n## Twice\n## Twice\n```\n# code\n```\n"
    assert anchors(text) == {"whats-new-x-and-that", "twice", "twice-1"}


def said(folder: Path) -> str:
    """Return all texts in the package's sources, one per line; an f-string's pieces apart."""
    found: set[str] = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(" ".join(node.value.split()))
    return "\n".join(found)


def unsaid(page: str, texts: str) -> list[str]:
    """Return pieces of the messages in a page's first columns that no text has.

    What stands for a name or a number (``X``, ``...``, a digit) parts a message.
    """
    cells = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    parts = re.compile(r"\.\.\.|\b[A-Z]+\b|[`'\"(),:;=\[\]]|\d\S*")
    pieces = [piece.strip() for message in messages for piece in parts.split(message)]
    return [piece for piece in pieces if len(piece.split()) > 1 and piece not in texts]


def test_messages_of_the_troubleshooting_page_are_those_of_the_package():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    texts = said(ROOT / "bayestrans")
    # The last table holds what Python and its installer say.
    ours, _, _ = page.partition("## Python and JAX")
    assert unsaid(ours, texts) == []
    changed = ours.replace("there is no column", "there are no columns")
    assert unsaid(changed, texts) == ["there are no columns"]
