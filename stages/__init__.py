"""One module per stage of the DVC graph, of the same name."""

import gc
import sys

import deixis.core.threads  # noqa: F401  # before a stage imports torch

if sys.argv[0] == "-m":  # `python -m stages.<name>` is looking for its module; `run_stage` switches it on again
    gc.disable()  # importing torch and pandas makes no garbage, and looking for some takes half a second per stage
