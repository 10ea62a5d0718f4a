"""docs/adding-a-method.md followed literally: its files, registry lines and entries put into a checkout.

run     python -m tests.added_methods FOLDER
"""

import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-method.md"
BLOCK = re.compile(r"<!-- (?:file: )?([^,\n]+?)(?:, ([^\n]+?))? -->\n```\w+\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Of each marked block the file, the place in it (empty: the whole file), and its text."""
    return [(file, place or "", text) for file, place, text in BLOCK.findall(PAGE.read_text())]


def follow(checkout: Path) -> list[str]:
    """Do what the page says; returns the files that were written or changed."""
    for file, place, text in blocks():
        path = checkout / file
        whole = path.read_text() if place else ""
        changed = with_block(whole, place, text)
        assert changed != whole, f"{PAGE.name}: {file} has no place for: {place}"
        path.write_text(changed)
    return sorted({file for file, _, _ in blocks()})


def with_block(whole: str, place: str, text: str) -> str:
    """The file with the block where the page says; as it was if there is no such place."""
    if not place:
        return text
    if place.startswith("add to "):  # the line after the registry's first
        head = rf"^{place.removeprefix('add to ')} = \{{\n"
    elif place.startswith("under "):  # the lines after the section's head
        head = rf"^{place.removeprefix('under ')}:\n"
    else:  # the line of a list of `run`, in its place
        return re.sub(rf"(?m)^  {place.removeprefix('run.')}: .*\n", lambda _: text, whole, count=1)
    return re.sub(f"(?m){head}", lambda found: found[0] + text, whole, count=1)


if __name__ == "__main__":
    print("\n".join(follow(Path(sys.argv[1]))))
