"""Damaged files for every reader: what ends in a traceback, takes too long, loses sound rows or runs code.

`sound.py` makes small sound files and says how each kind is read, `mutate.py` damages them, `outcomes.py` reads one
damaged copy and says how it ended, `__main__.py` reads many. A seed and a number give the same damage on every machine.
"""
