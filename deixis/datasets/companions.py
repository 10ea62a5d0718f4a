"""Files that a system puts beside people's own."""


def is_companion(name: str) -> bool:
    """Whether a file is about the one whose name follows: a Mac's metadata (AppleDouble), an office program's lock."""
    return name.startswith(("._", "~$", ".~lock."))
