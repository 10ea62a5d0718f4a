"""How long a thread that waits for others keeps its core busy. Imported before torch, which reads it once."""

import os

# A step of the embedded detector on two cores, ms, alone and beside one busy process: 76 and 2,340 by default, 136 and
# 207 asleep at once (OMP_WAIT_POLICY=PASSIVE), 79 and 436 with this many.
SPINS = "20000"

os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
