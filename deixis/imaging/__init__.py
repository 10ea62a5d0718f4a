"""Pictures and masks: reading, letterboxing, run-length codes."""
