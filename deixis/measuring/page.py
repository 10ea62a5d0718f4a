"""Self-contained HTML pages, in one style."""

from pathlib import Path
from typing import Any

import jinja2

STYLE = Path(__file__).with_name("page.css")


def render_page(template: Path, **values: Any) -> str:
    """Fill a template; it gets the common style as `style`. Values are escaped unless the template says otherwise."""
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return page.from_string(template.read_text(encoding="utf-8")).render(
        style=STYLE.read_text(encoding="utf-8"), **values
    )
