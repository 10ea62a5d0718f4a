"""Names of people's own that YAML does not read as text: a data set called 2024, 1e3 or null."""

import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from deixis.core.errors import ConfigError

READ_AS = {bool: "true or false", int: "a number", float: "a number", type(None): "nothing", datetime.date: "a date"}


def refuse_misread_names(values: dict[Any, Any], section: str, params_path: Path, *, wanted: str = "") -> None:
    """Refuse keys that a user meant as text and YAML reads as something else: 2024, 1e3, null.

    Args:
        wanted: The only name that matters, as it is written.

    Raises:
        ConfigError: With the name in quotes, which makes it text.
    """
    for key in values:
        if not isinstance(key, str) and (not wanted or _reads_as(wanted, key)):
            written = wanted or _spelled(key)
            raise ConfigError(
                f"{params_path}: {section} has the name {written}, which YAML reads as {_kind(key)}. Allowed: text. "
                f'Write "{written}": in place of {written}: there, and "{written}" in the lists of run'
            )


def advise_quotes(value: Any) -> str:
    """How a message about a value that should be text goes on where only quotes are missing."""
    if not isinstance(value, tuple(READ_AS)):
        return ""
    return f', and YAML reads {_kind(value)} there; write it in quotes, as "{_spelled(value)}"'


def _reads_as(written: str, key: Any) -> bool:
    try:
        value = YAML(typ="safe").load(written)
    except (YAMLError, ValueError):  # as for a thirteenth month
        return False
    return type(value) is type(key) and value == key


def _spelled(value: Any) -> str:
    """A value that YAML did not read as text, as text."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _kind(value: Any) -> str:
    return next((name for kind, name in READ_AS.items() if isinstance(value, kind)), type(value).__name__)
