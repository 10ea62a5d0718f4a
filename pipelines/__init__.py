"""Prefect flows: order, retries and schedule; no tensors."""
