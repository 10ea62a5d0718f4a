"""Files that a system puts beside people's own."""


def is_companion(name: str) -> bool:
    """Whether a file holds a Mac's metadata about the file whose name follows the two characters (AppleDouble)."""
    return name.startswith("._")
