"""An empty folder for DVC, as `dvc init --no-scm` leaves it; starting DVC takes a second."""

from pathlib import Path


def init_dvc(folder: Path) -> None:
    """Write it into a folder that is there."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n"
    )
