"""The comparison as Markdown for a pull request: tables alone, as comments show no embedded pictures."""

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from commands.comparing.comparison import Comparison
from commands.comparing.sections import Section, verdicts
from deixis.measuring.report_tables import markdown

MARKER = "<!-- deixis compare -->"  # by which the next run finds its comment
LONGEST = 800  # characters of a note
LIMIT = 58_000  # bytes; a comment on GitHub holds 65,536 characters


def render_markdown(found: Comparison, sections: Sequence[Section]) -> str:
    """The whole, or as much as fits into a comment, with a word on what does not."""
    text = "\n".join(_head(found))
    for section in sections:
        for block in (_section(section), _section(section, with_table=False)):
            if len((text + block).encode()) <= LIMIT:
                text += block
                break
    return text


def _head(found: Comparison) -> Iterator[str]:
    yield MARKER
    yield f"## {verdicts(found.headlines)}"
    yield ""
    yield f"base {code_span(found.base.title)}, head {code_span(found.head.title)}"
    yield ""
    yield from (f"- **Note:** {escaped(warning)}" for warning in found.warnings[:20])
    if len(found.warnings) > 20:
        yield f"- and {len(found.warnings) - 20} more notes, on the page"


def _section(section: Section, *, with_table: bool = True) -> str:
    lines = ["", f"### {section.title}", "", *(f"{escaped(_cut(note))}  " for note in section.notes)]
    if len(section.table) and with_table:
        shown = section.table.head(section.rows)
        spelled = {name: shown[name].map(code_span if name in section.words else escaped) for name in shown}
        lines += ["", markdown(pd.DataFrame(spelled))]
        lines += ["", f"and {len(section.table) - len(shown)} more, on the page"] * (len(section.table) > len(shown))
    elif len(section.table):
        lines += ["", f"{len(section.table)} rows, too long for here: on the page"]
    lines += ["", *(f"{escaped(note)}  " for note in section.after)] if section.after else []
    return "\n".join([*lines, ""])


def _cut(note: str) -> str:
    return note if len(note) <= LONGEST else f"{note[:LONGEST]}... (the rest is on the page)"


def code_span(text: object) -> str:
    """Any text, shown as it is: no markup, mention or picture of it has an effect; safe in a table."""
    return f"`{_one_line(text).replace('`', chr(0x2CB)).replace('|', chr(92) + '|')}`"


def escaped(text: object) -> str:
    """A line of our own words, with names out of files among them; safe in a table."""
    line = _one_line(text)
    for sign in ("\\", "|", "<", "`", "*"):
        line = line.replace(sign, f"\\{sign}")
    return re.sub(r"(?<!\w)@(?=\w)", "@\u200b", line.replace("](", "]\\("))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
