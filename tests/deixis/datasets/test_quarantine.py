"""The codes of refusals."""

import re
from pathlib import Path
from typing import get_args

from deixis.datasets.quarantine import Code

ROOT = Path(__file__).parents[3]


def test_every_code_is_explained_once():
    explained = re.findall(r"`([EW]_[A-Z_]+)`", (ROOT / "docs/quarantine.md").read_text(encoding="utf-8"))
    assert sorted(explained) == sorted(get_args(Code))


def test_every_code_is_used():
    code = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "deixis").rglob("*.py") if path.stem != "quarantine"
    )
    assert not [name for name in get_args(Code) if name not in code]
