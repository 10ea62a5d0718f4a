"""The one training loop, its optimiser, and losses that methods share."""
