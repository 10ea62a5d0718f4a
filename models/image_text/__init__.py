"""Frozen models that put images and phrases in one space, which judge response maps."""
