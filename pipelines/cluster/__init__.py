"""Stages on other machines: the body of a stage as a task of Ray, its output and its exit code brought home."""
