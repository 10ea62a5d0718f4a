"""Large tensors that are freed and come again at every step, without a way through the kernel."""

import ctypes
import platform

# glibc's names and numbers for mallopt, and the bytes up to which freed memory is kept for the next allocation
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 256 << 20), (-1, 512 << 20)


def keep_freed_memory() -> None:
    """Ask glibc, where it is the allocator, to keep what is freed.

    Otherwise large tensors go back to the kernel and come again as fresh pages, zeroed, one by one, at every step of
    every training loop: a fifth of SimREC's step, two fifths of TransVG's.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(*MMAP_THRESHOLD)
        mallopt(*TRIM_THRESHOLD)
