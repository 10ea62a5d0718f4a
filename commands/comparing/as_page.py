"""The comparison as one HTML page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from commands.comparing.comparison import Comparison
from commands.comparing.pictures import choose, draw
from commands.comparing.sections import Section, verdicts
from deixis.measuring.page import render_page

TEMPLATE = Path(__file__).with_name("page.html.jinja")
PICTURES = "Phrases that flipped"  # the section under which they stand


def render_html(found: Comparison, sections: Sequence[Section]) -> str:
    """All that Markdown has, whole tables, and pictures."""
    return render_page(
        TEMPLATE,
        verdicts=verdicts(found.headlines),
        base=found.base.title,
        head=found.head.title,
        warnings=found.warnings,
        sections=sections,
        gallery=list(draw(choose(found.flips), found.head)),
        gallery_after=[section.title for section in sections].index(PICTURES) + 1,
    )
