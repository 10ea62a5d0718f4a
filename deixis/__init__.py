"""The shared library of deixis."""
