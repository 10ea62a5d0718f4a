"""How long a thread that waits for others keeps its core busy. Imported before torch, which reads it once."""

import os

# OpenMP's default spins for about as long as a small operation takes a hundred times over: beside one busy process a
# step of the embedded detector took 2,340 ms, and 76 alone. Asleep at once (0) it took 207 and 136; so, 436 and 79.
SPINS = "20000"

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
