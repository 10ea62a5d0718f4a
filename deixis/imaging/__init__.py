"""Images and masks: reading, letterboxing, run-length codes."""
