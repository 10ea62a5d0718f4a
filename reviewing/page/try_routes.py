"""JSON: images to ask about, and answers to phrases."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from deixis.language.location_words import parse_location_words
from deixis.language.text import normalise
from reviewing.page.model import Busy, Model
from reviewing.page.pictures import Pictures, Uploads, listed_upright
from reviewing.page.place_words import in_words
from reviewing.page.schema import AnswerOut, Answers, ImageOut, Problem, Question, mask_out

UPLOADS = "/api/images"


def try_routes(model: Model, pictures: Pictures | None, uploads: Uploads, picture_url: str) -> APIRouter:
    """The routes of one model.

    Args:
        pictures: Images to choose from; None where there is no list.
        picture_url: Of such an image, with {} for its number.
    """
    router = APIRouter(tags=["try"])

    def listed(number: int) -> Pictures:
        if pictures is None or not 0 <= number < len(pictures):
            allowed = f"0 to {len(pictures) - 1}" if pictures else "none, since there is no list; upload one"
            raise HTTPException(404, f"image {number} of the list. Allowed: {allowed}")
        return pictures

    @router.get("/api/images/{number}")
    def image(number: int) -> ImageOut:
        """A listed image."""
        known = listed(number)
        width, height = known.size(number)
        picture = picture_url.format(number)
        name = known.name(number)
        return ImageOut(kind="listed", number=number, name=name, width=width, height=height, picture=picture)

    @router.put(UPLOADS, responses={413: {"model": Problem}}, openapi_extra=_RAW_BODY)
    async def upload(request: Request) -> ImageOut:
        """Upload an image: the bytes of the file are the body. The last few are kept, in memory."""
        data = b"".join([chunk async for chunk in request.stream()])
        number, decoded = await run_in_threadpool(uploads.add, data)
        return _uploaded(number, decoded)

    @router.post("/api/answers", responses={503: {"model": Problem}})
    def answers(question: Question) -> Answers:
        """Ask the model. The first answer waits for it to be loaded."""
        if question.kind == "listed":
            shown = listed_upright(listed(question.number).path(question.number))
            about = image(question.number).model_copy(update={"width": shown.width, "height": shown.height})
        else:
            shown = upload_of(uploads, question.number)
            about = _uploaded(question.number, shown)
        try:
            folder, found = model.answer(shown, question.phrases)
        except Busy as error:
            raise HTTPException(503, str(error)) from None
        return Answers(model=folder, image=about, answers=[_answer(one) for one in found])

    return router


def upload_of(uploads: Uploads, number: int) -> Image.Image:
    """An uploaded image, while it is kept."""
    try:
        return uploads.image(number)
    except KeyError:
        raise HTTPException(404, f"upload {number} is not kept any more. Upload it again") from None


def _uploaded(number: int, image: Image.Image) -> ImageOut:
    return ImageOut(
        kind="uploaded",
        number=number,
        name="uploaded image",
        width=image.width,
        height=image.height,
        picture=f"/uploads/{number}",
    )


def _answer(answer) -> AnswerOut:
    read = parse_location_words(normalise(answer.phrase))
    return AnswerOut(
        phrase=answer.phrase,
        box=None if answer.box is None else list(answer.box),
        runner_up=None if answer.runner_up is None else list(answer.runner_up),
        mask=mask_out(answer.rle),
        score=answer.score,
        margin=answer.margin,
        confidence=answer.confidence,
        reason=answer.reason,
        place=in_words(read),
        rest=read.rest,
    )


_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
