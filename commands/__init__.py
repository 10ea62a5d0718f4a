"""The commands of the `deixis` console script, one module each."""

import deixis.core.threads  # noqa: F401  # before a command imports torch
