"""JSON: the list of labels, one label, decisions."""

from typing import Annotated

from fastapi import APIRouter, HTTPException
from fastapi import Query as FromQuery

from reviewing.decisions import Box, Decision
from reviewing.page.desk import Choice, Desk, Unfit
from reviewing.page.labels import Label
from reviewing.page.listing import Query
from reviewing.page.schema import (
    Decided,
    DecisionIn,
    DecisionOut,
    LabelOut,
    Progress,
    Row,
    Undone,
    Window,
    mask_out,
)

MOST_ROWS = 200  # of one window
LabelQuery = Annotated[Query, FromQuery()]


class WindowQuery(Query):
    """A part of a list."""

    start: Annotated[int, FromQuery(ge=0)] = 0
    size: Annotated[int, FromQuery(ge=1, le=MOST_ROWS)] = 50


def review_routes(desk: Desk, picture_url: str) -> APIRouter:
    """The routes of one desk.

    Args:
        picture_url: Of an image, with {} for its number.
    """
    router = APIRouter(prefix="/api", tags=["review"])

    @router.get("/labels")
    def labels(query: Annotated[WindowQuery, FromQuery()]) -> Window:
        """A window of the list."""
        rows = desk.listing.rows(query, desk.decided)
        shown = [_row(desk, int(row)) for row in rows[query.start : query.start + query.size]]
        start, order = query.start, desk.listing.order(query)
        return Window(**_progress(desk, query), start=start, count=len(rows), order=order, rows=shown)

    @router.get("/labels/{row}")
    def label(row: int, query: LabelQuery) -> LabelOut:
        """One label, with its neighbours in the list. It need not be in the list itself."""
        if not 0 <= row < len(desk.labels):
            raise HTTPException(404, f"label {row}. Allowed: 0 to {len(desk.labels) - 1}")
        return _label(desk, desk.labels[row], query, picture_url)

    @router.post("/decisions")
    def decide(body: DecisionIn, query: LabelQuery) -> Decided:
        """Write a decision. When the answer comes, it is on the disk."""
        choice = Choice(body.sample_id, body.verdict, _box(body.box), _box(body.label_box))
        try:
            decision = desk.decide(choice)
        except KeyError:
            raise HTTPException(404, f"{body.sample_id!r}: no label of that name here") from None
        except Unfit as error:
            raise HTTPException(409, str(error)) from None
        return Decided(decision=_decision(decision, decision.label_box), **_progress(desk, query))

    @router.post("/undo")
    def undo(query: LabelQuery) -> Undone:
        """Take back the last decision of whoever started the server."""
        undone = desk.undo()
        sample_id = None if undone is None else undone.sample_id
        row = None if sample_id is None else desk.labels.row_of(sample_id)
        return Undone(sample_id=sample_id, row=row, **_progress(desk, query))

    return router


def _progress(desk: Desk, query: Query) -> dict[str, int]:
    decided, total = desk.listing.progress(query, desk.decided)
    return Progress(decided=decided, total=total).model_dump()


def _row(desk: Desk, row: int) -> Row:
    label = desk.labels[row]
    decision = desk.decision(label.sample_id)
    verdict = None if decision is None else decision.verdict
    return Row(row=row, phrase=label.expression, accepted=label.accept, reason=label.reason, verdict=verdict)


def _label(desk: Desk, label: Label, query: Query, picture_url: str) -> LabelOut:
    before, after, place = desk.listing.neighbours(query, desk.decided, label.row)
    decision = desk.decision(label.sample_id)
    width, height = desk.pictures.size(label.image)
    next_image = None if after is None else int(desk.labels.images[after])
    return LabelOut(
        row=label.row,
        sample_id=label.sample_id,
        phrase=label.expression,
        split=label.split,
        box=_sides(label.box),
        runner_up=_sides(label.runner_up),
        mask=mask_out(label.mask),
        accepted=label.accept,
        reason=label.reason,
        numbers=label.numbers,
        teacher=label.teacher,
        image=label.image,
        width=width,
        height=height,
        picture=picture_url.format(label.image),
        decision=None if decision is None else _decision(decision, label.box),
        place=place,
        count=len(desk.listing.rows(query, desk.decided)),
        previous=before,
        next=after,
        next_picture=None if next_image is None else picture_url.format(next_image),
        **_progress(desk, query),
    )


def _decision(decision: Decision, label_box: Box | None) -> DecisionOut:
    return DecisionOut(
        sample_id=decision.sample_id,
        verdict=decision.verdict,
        box=_sides(decision.box),
        who=decision.who,
        when=decision.when,
        of_this_label=decision.label_box == label_box,
    )


def _sides(box: Box | None) -> list[float] | None:
    return None if box is None else list(box)


def _box(sides: list[float] | None) -> Box | None:
    return None if sides is None else (sides[0], sides[1], sides[2], sides[3])
