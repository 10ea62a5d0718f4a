"""What is trained here, and the card of one trained model. Quick to import: `--help` waits for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from answering import ROLES
from deixis.core.config import SHOWN
from deixis.core.errors import ConfigError, DataError
from deixis.core.records import read_json

DEFAULT_MODEL = Path("data/teachers/scenes_plus/dvin")  # the reference teacher of the default run, on its reference set


def read_card(folder: Path, *, roles: Sequence[str] = tuple(ROLES)) -> dict[str, Any]:
    """The card of a checkpoint of one of the roles.

    Raises:
        DataError: If there is no checkpoint.
        ConfigError: If it is of a model of no role, or of another one.
    """
    places = [f"data/{role}s" for role in roles]
    if not (folder / "config.json").exists():
        trained = sorted(str(path.parent) for place in places for path in Path(place).glob("*/*/config.json"))
        known = f"Trained here: {', '.join(trained)}. Name one of them" if trained else "Nothing is trained here yet"
        raise DataError(f"{folder}: no trained model (config.json is missing). {known}; to train, run: dvc repro")
    card = read_json(folder / "config.json", made_by="train_teacher")
    if not isinstance(card, dict) or not set(roles) & card.keys():
        role_there = next((role.replace("_", " ") for role in ROLES if isinstance(card, dict) and role in card), "")
        what = f"a {role_there}" if role_there else "a model, but none that answers phrases"
        raise ConfigError(f"{folder}: {what}. Allowed: a folder <dataset>/<name> of {', '.join(places)}. Name one")
    role = next(role for role in roles if role in card)
    made_by = f"train_{role}"
    for name, kind in ((role, str), ("model", dict), ("vocabulary", list), ("sha256", str)):
        if not isinstance(card.get(name), kind):
            raise DataError(
                f"{folder}/config.json: {name} is {SHOWN.repr(card.get(name))}; allowed: a {kind.__name__}. "
                f"Run: dvc repro -f {made_by}"
            )
    return card
