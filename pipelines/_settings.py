"""An experiment: other values in `params.yaml` for the length of one run."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from deixis.core.config import load_params
from deixis.core.errors import ConfigError
from pipelines._dvc import TMP

PARAMS = Path("params.yaml")
KEPT = TMP / "params.json"


@contextmanager
def experiment(settings: Sequence[str], path: Path = PARAMS, kept: Path = KEPT) -> Iterator[None]:
    """Give settings other values inside, and the file its own bytes afterwards.

    Args:
        settings: As `seed=1` or `teachers.dvin.epochs=3`: the name of a setting that is there, and a value in YAML.
        kept: Where the file's own bytes are meanwhile. If the run is killed, the next one puts them back.

    Raises:
        ConfigError: If there is no such setting, its value is no YAML, or somebody edited the file of a killed run.
    """
    put_back(path, kept)
    if not settings:
        yield
        return
    params, during = load_params(path), io.StringIO()
    for setting in settings:
        _change(params, setting, path)
    YAML().dump(params, during)
    _replace(kept, json.dumps({"before": path.read_text(encoding="utf-8"), "during": during.getvalue()}))
    try:
        _replace(path, during.getvalue())
        yield
    finally:
        put_back(path, kept)


def put_back(path: Path, kept: Path) -> None:
    """Undo the change of an experiment, if one was under way."""
    if not kept.exists():
        return
    texts, now = json.loads(kept.read_text(encoding="utf-8")), path.read_text(encoding="utf-8")
    if now not in (texts["before"], texts["during"]):
        raise ConfigError(f"{path}: edited while a run had other settings in it. Check it, then: rm {kept}")
    _replace(path, texts["before"])
    kept.unlink()


def _replace(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def _change(params: dict[str, Any], setting: str, path: Path) -> None:
    name, sign, text = setting.partition("=")
    *parents, last = name.split(".")
    section: Any = params
    for parent in parents:
        section = section.get(parent) if isinstance(section, dict) else None
    if not sign or not isinstance(section, dict) or last not in section:
        known = f" Known there: {', '.join(map(str, section))}." if isinstance(section, dict) else ""
        raise ConfigError(f'"{setting}" is no setting of {path} with a value.{known} Write it as in: seed=1')
    try:
        section[last] = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ConfigError(
            f'"{setting}": not a value in YAML ({str(error).splitlines()[0]}). Put it in quotes'
        ) from None
