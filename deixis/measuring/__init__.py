"""Scores against withheld truth, difficulty groups, tables and charts."""
