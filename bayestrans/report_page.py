"""One self-contained page of HTML from sections of words, tables and pictures.

Sections hold plain text; it becomes HTML here and nowhere else, so that whatever
a user's spec is called, it is text.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from string import Template
from typing import NamedTuple

from matplotlib.figure import Figure

#: Dots per inch of the pictures, and pixels per inch at which they are shown.
DPI, SHOWN = 160, 112
#: Pixels below which a picture is not shrunk: on a telephone one scrolls it.
LEAST_SHOWN = 560


#: Where there is no number.
NONE = "\u2013"

#: What a section says that held-out stars are needed for.
NEEDS_PAIRS = "This needs stars that were not used in the fit: give them as pairs (--pairs)."


class Heading(NamedTuple):
    """A heading within a section."""

    text: str


class Bullets(NamedTuple):
    """A list."""

    items: tuple[str, ...]


class Commands(NamedTuple):
    """Lines to type."""

    lines: tuple[str, ...]


class Picture(NamedTuple):
    """A picture.

    Attributes
    ----------
    figure : Figure
    alt : str
        What it shows, for those who do not see it.
    caption : str
        How to read it.
    """

    figure: Figure
    alt: str
    caption: str


class Sheet(NamedTuple):
    """A table.

    Attributes
    ----------
    caption : str
    head : tuple of str
        Headings of the columns; empty for none.
    rows : sequence of tuple of str
        The first of each names the row.
    text : bool
        True where the cells are words, False where they are numbers.
    """

    caption: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    text: bool = False


type Part = str | Heading | Bullets | Commands | Picture | Sheet


class Section(NamedTuple):
    """A section of the page.

    Attributes
    ----------
    key : str
        Its anchor.
    title : str
    parts : tuple of Part
        A plain string is a paragraph.
    """

    key: str
    title: str
    parts: tuple[Part, ...]


class Verdict(NamedTuple):
    """One thing found good or wanting.

    Attributes
    ----------
    grade : str
        ``warning``, ``caution`` or ``good``.
    text : str
        What was found and, unless it is good, what to do.
    section : str
        The key of the section that shows it.
    """

    grade: str
    text: str
    section: str


#: From the worst to the best.
GRADES = ("warning", "caution", "good")

#: How a grade is written: never by its colour alone.
MARKS = {"warning": "\u25b2 Warning", "caution": "\u25c6 Caution", "good": "\u2713 Good"}

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #5a5a5a;
  --line: #cfcfcf; --shade: #f4f4f4; --warning: #a63d00; --caution: #7a5c00; --good: #006b4f;
  --link: #005a94; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --faint: #a9a9a9;
  --line: #44474b; --shade: #202328; --warning: #ff9a5c; --caution: #e8c34a; --good: #4fc9a4;
  --link: #7cc0f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 54rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-bottom: .25rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; overflow-wrap: anywhere; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
.facts { color: var(--faint); font-size: .9rem; margin: 0; }
.verdicts { list-style: none; padding: 0; }
.verdicts li { border-left: .35rem solid; padding: .1rem 0 .1rem .7rem; margin: .6rem 0; }
.verdicts strong { display: inline-block; margin-right: .4rem; }
.verdicts .warning { border-color: var(--warning); }
.verdicts .warning strong { color: var(--warning); }
.verdicts .caution { border-color: var(--caution); }
.verdicts .caution strong { color: var(--caution); }
.verdicts .good { border-color: var(--good); }
.verdicts .good strong { color: var(--good); }
nav ul { columns: 2 16rem; padding-left: 1.2rem; }
figure { margin: 1.4rem 0; }
figure div { overflow-x: auto; }
figure img { display: block; width: 100%; height: auto; background: #fff; padding: .4rem;
  border: 1px solid var(--line); }
figcaption, caption { color: var(--faint); font-size: .88rem; text-align: left; }
caption { padding-bottom: .4rem; caption-side: top; }
caption span { display: block; max-width: min(46rem, calc(100vw - 2.5rem)); }
figcaption { max-width: 46rem; margin-top: .4rem; }
.sheet { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .65rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
thead th { background: var(--shade); border-bottom: 2px solid var(--line); }
th:first-child { text-align: left; font-weight: 600; padding-left: .3rem; }
table.text th, table.text td { text-align: left; white-space: normal;
  overflow-wrap: break-word; }
table.text th { white-space: nowrap; }
pre { background: var(--shade); padding: .7rem .9rem; overflow-x: auto; font-size: .86rem; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --line: #bbb;
    --shade: #f2f2f2; --warning: #a63d00; --caution: #7a5c00; --good: #006b4f; --link: #000; }
  @page { margin: 16mm 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2, h3, caption { break-after: avoid; }
  figure, .sheet, .verdicts li { break-inside: avoid; }
  .sheet { overflow: visible; }
  caption span { max-width: none; }
  figure img { min-width: 0 !important; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .4rem; }
  thead { display: table-header-group; }
  pre { white-space: pre-wrap; }
  a { text-decoration: none; }
}
"""

# The policy lets the page load nothing but what is in it.
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="facts">$facts</p>
</header>
<main>
<section id="verdicts">
<h2>Verdicts</h2>
<p>$summary</p>
<ul class="verdicts">
$verdicts
</ul>
</section>
<nav aria-label="Contents">
<ul>
$contents
</ul>
</nav>
$sections
</main>
</body>
</html>
""")


def page(title: str, facts: str, verdicts: Sequence[Verdict], sections: Sequence[Section]) -> str:
    """Return the page: what is wrong comes first.

    Parameters
    ----------
    title, facts : str
        The heading and a line below it.
    verdicts : sequence of Verdict
        In any order.
    sections : sequence of Section
    """
    ordered = sorted(verdicts, key=lambda verdict: GRADES.index(verdict.grade))
    return PAGE.substitute(
        title=html.escape(title),
        facts=html.escape(facts),
        style=STYLE,
        summary=html.escape(_summary(ordered)),
        verdicts="\n".join(map(_verdict, ordered)),
        contents="\n".join(
            f'<li><a href="#{html.escape(s.key)}">{html.escape(s.title)}</a></li>' for s in sections
        ),
        sections="\n".join(map(_section, sections)),
    )


def _summary(verdicts: Sequence[Verdict]) -> str:
    counts = {grade: sum(v.grade == grade for v in verdicts) for grade in GRADES}
    if counts["warning"]:
        them = "it" if counts["warning"] == 1 else "them"
        said = (
            f"{_counted(counts['warning'], 'warning')}: deal with {them} before using this model."
        )
    else:
        said = "No warnings."
    if counts["caution"]:
        them = "it" if counts["caution"] == 1 else "them"
        said += f" {_counted(counts['caution'], 'caution')}: read {them} before trusting it."
    return said


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("s" if count > 1 else "")


def _verdict(verdict: Verdict) -> str:
    return (
        f'<li class="{verdict.grade}"><strong>{MARKS[verdict.grade]}</strong> '
        f'{html.escape(verdict.text)} <a href="#{html.escape(verdict.section)}">Details</a></li>'
    )


def _section(section: Section) -> str:
    parts = "\n".join(map(_part, section.parts))
    return (
        f'<section id="{html.escape(section.key)}">\n<h2>{html.escape(section.title)}</h2>\n'
        f"{parts}\n</section>"
    )


def _part(part: Part) -> str:
    match part:
        case Heading(text):
            return f"<h3>{html.escape(text)}</h3>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>"
        case Commands(lines):
            text = html.escape("\n".join(lines))
            return f'<pre tabindex="0"><code>{text}</code></pre>'
        case Picture():
            return _picture(part)
        case Sheet():
            return _sheet(part)
        case str():
            return f"<p>{html.escape(part)}</p>"


def _picture(part: Picture) -> str:
    stream = io.BytesIO()
    part.figure.savefig(stream, format="png", dpi=DPI)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    width = round(part.figure.get_size_inches()[0] * SHOWN)
    return (
        f'<figure style="max-width: {width}px"><div><img src="data:image/png;base64,{data}" '
        f'style="min-width: {min(width, LEAST_SHOWN)}px" alt="{html.escape(part.alt)}"></div>'
        f"<figcaption>{html.escape(part.caption)}</figcaption></figure>"
    )


def _sheet(part: Sheet) -> str:
    caption = html.escape(part.caption)
    cells = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in part.head)
    head = f"<thead><tr>{cells}</tr></thead>\n" if cells else ""
    rows = "\n".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in part.rows
    )
    # Wide tables scroll by themselves; the focus lets keys scroll them.
    return (
        f'<div class="sheet" role="region" aria-label="{caption}" tabindex="0">'
        f"<table{' class="text"' if part.text else ''}><caption><span>{caption}</span></caption>\n"
        f"{head}<tbody>\n{rows}\n</tbody></table></div>"
    )


def number(value: float, form: str) -> str:
    """Return a number as text, or a dash where there is none."""
    return format(value, form) if math.isfinite(value) else NONE


def percent(share: float | None) -> str:
    """Return a share as text, or a dash where there is none."""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"


def within(level: str) -> str:
    """Return the heading of a column of shares inside intervals of a nominal level."""
    return f"in {100 * float(level):.0f} %"
