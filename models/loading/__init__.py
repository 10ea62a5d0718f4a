"""Models from settings, and back from their folders."""
