"""Numbers of a process and of all above it."""

from pathlib import Path


def ancestors(pid: int) -> list[int]:
    above = []
    while pid > 1:
        above.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return above
