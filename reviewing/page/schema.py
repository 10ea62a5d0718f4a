"""What the JSON interface takes and gives. Boxes are left, top, right, bottom in pixels of the stored image."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from reviewing.decisions import Verdict


def _whole(text: str) -> str:
    """Refuse halves of characters, which JSON may name and no file can hold."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a half of a character (U+D800 to U+DFFF). Allowed: whole characters")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Sides = Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
Phrase = Annotated[str, Field(min_length=1, max_length=500)]
MOST_PHRASES = 20  # of one question


class Strict(BaseModel):
    """A body of which nothing is guessed and nothing left unread."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(BaseModel):
    """Every error."""

    error: str = Field(description="What was found, what is allowed, what to do")


class Mask(BaseModel):
    """A COCO run-length code; size is height, width."""

    size: list[int]
    counts: str


class DecisionIn(Strict):
    """What somebody decides about a label."""

    sample_id: Text
    verdict: Verdict
    box: Sides | None = Field(None, description="With the verdict `box`, and only there")
    label_box: Sides | None = Field(None, description="The label as you saw it; refused if it has changed since")


class DecisionOut(BaseModel):
    """A decision that stands."""

    sample_id: str
    verdict: Verdict
    box: list[float] | None
    who: str
    when: str
    of_this_label: bool = Field(description="False where the label had another box when it was decided")


class Progress(BaseModel):
    """How far it is, among the labels that the filters let through."""

    decided: int
    total: int


class Row(BaseModel):
    """A label in the list."""

    row: int
    phrase: str
    accepted: bool
    reason: str
    verdict: Verdict | None


class Window(Progress):
    """A part of the list."""

    start: int
    count: int = Field(description="Labels in the list, of which these are some")
    order: str
    rows: list[Row]


class LabelOut(Progress):
    """A label, and where it stands in the list."""

    row: int
    sample_id: str
    phrase: str
    split: str
    box: list[float] | None
    runner_up: list[float] | None
    mask: Mask | None
    accepted: bool
    reason: str
    numbers: dict[str, float] = Field(description="score, margin, confidence, agreement, where they are known")
    teacher: str
    image: int
    width: int
    height: int
    picture: str
    decision: DecisionOut | None
    place: int = Field(description="Labels before it in the list")
    count: int
    previous: int | None
    next: int | None
    next_picture: str | None


class Decided(Progress):
    """The answer to a decision: it is on the disk."""

    decision: DecisionOut


class Undone(Progress):
    """The answer to undoing; both null where there was nothing to take back."""

    sample_id: str | None
    row: int | None


class ImageOut(BaseModel):
    """An image to ask about: listed or uploaded, and its number there."""

    kind: Literal["listed", "uploaded"]
    number: int
    name: str
    width: int
    height: int
    picture: str


class Question(Strict):
    """Phrases about one image."""

    kind: Literal["listed", "uploaded"]
    number: int
    phrases: Annotated[list[Phrase], Field(min_length=1, max_length=MOST_PHRASES)]


class AnswerOut(BaseModel):
    """What the model says to one phrase."""

    phrase: str
    box: list[float] | None
    runner_up: list[float] | None
    mask: Mask | None
    score: float
    margin: float | None
    confidence: float | None
    reason: str = Field(description="Why it would not be accepted as a label; empty where it would")
    place: str = Field(description="What location words were read, in words; empty where there are none")
    rest: str = Field(description="The phrase without them")


class Answers(BaseModel):
    """The answers to a question, in the order of its phrases."""

    model: str
    image: ImageOut
    answers: list[AnswerOut]


def mask_out(mask: dict[str, Any] | None) -> Mask | None:
    """A mask as JSON has it."""
    return None if mask is None else Mask(size=[int(side) for side in mask["size"]], counts=str(mask["counts"]))
