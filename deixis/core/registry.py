"""Names in params.yaml to classes in our files, imported only when asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

from deixis.core.code_list import method_loaded
from deixis.core.errors import ConfigError


def resolve(registry: Mapping[str, str], name: str, *, role: str) -> Any:
    """Import what `registry` says about `name`.

    Raises:
        ConfigError: If the name is not in the registry; lists those that are.
    """
    if name not in registry:
        known = ", ".join(sorted(registry))
        raise ConfigError(
            f'there is no {role} "{name}". Known: {known}. '
            "Name one of them in params.yaml, or add a line to the registry."
        )
    method_loaded(registry[name], name)
    module, attribute = registry[name].split(":")
    return getattr(importlib.import_module(module), attribute)
