"""Frozen models from their folders of weights, and what a model that is about to be trained starts from."""
