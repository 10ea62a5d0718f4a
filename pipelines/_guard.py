"""A program that leads the processes of one stage and ends them all when the flow is gone.

A flow may be killed without a word, by a worker that stops or for want of memory. Its stages would run on, and the next
run would find them in its way. The guard reads a pipe whose other end the flow holds: however the flow ends, the kernel
closes it, on Linux and on macOS. (Linux's own signal at the parent's death is no help: it reaches one process, not its
children, and comes when the thread ends that started it.)

run     python -I -S _guard.py COMMAND ...   with the pipe as standard input, as leader of a process group of its own
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time

SECONDS_TO_STOP = 3.0


def main() -> None:
    """Run the command and pass its exit code on, a signal as a shell does."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # ends the group, not its leader; children do not inherit a handler
    stage = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    watch = threading.Thread(target=end_with_flow, daemon=True)
    watch.start()
    code = stage.wait()
    if select.select([0], [], [], 0)[0]:  # the flow never writes: this is the end of the pipe
        watch.join()
    sys.exit(code if code >= 0 else 128 - code)


def end_with_flow() -> None:
    """Wait for the end of the pipe, then end the whole group, this process last."""
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
