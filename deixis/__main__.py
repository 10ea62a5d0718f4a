"""`python -m deixis`: the same as the console script, wherever it is not installed."""

import importlib

importlib.import_module("commands.main").main()  # by name: the library itself knows nothing of its commands
