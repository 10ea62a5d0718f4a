"""What labels say of their supervision once people have decided about some of them."""

COLUMN = "human"  # of labels.parquet: the verdict of whoever decided about the label; empty where nobody has
REFUSED = "human"  # reason of a label that somebody has rejected


def with_decisions(supervision: str, count: int) -> str:
    """Supervision in words, with so many decisions of people added; without any it stays as it is."""
    return f"{supervision}, and {count} human decision{'s' if count > 1 else ''}" if count else supervision
