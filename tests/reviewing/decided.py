"""A decision to start from."""

from dataclasses import replace
from typing import Any

from reviewing.decisions import Decision

ACCEPTED = Decision(
    sample_id="a/1",
    image_id=7,
    expression="the left dog",
    verdict="accept",
    box=(1.5, 2.0, 30.25, 40.0),
    label_box=(1.5, 2.0, 30.25, 40.0),
    teacher="dvin",
    checkpoint_sha256="c0ffee00" * 8,
    who="ann",
    when="2026-11-30T11:00:00.123456+00:00",
    source="serve",
)


def a_decision(**changes: Any) -> Decision:
    """That of ann about the left dog, with changes."""
    return replace(ACCEPTED, **changes)
