"""HTML, its script and style, and pictures."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reviewing.page.access import Access
from reviewing.page.desk import Desk
from reviewing.page.pictures import Pictures, Uploads, encode
from reviewing.page.try_routes import upload_of

HERE = Path(__file__).parent
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
ORDERS = {
    "doubt": "most doubtful first",
    "confidence": "least confident first",
    "margin": "smallest margin first",
    "disagreement": "most disagreement first",
    "reason": "by reason of refusal",
    "file": "as in the file",
}
KEPT = {"Cache-Control": "private, max-age=3600"}


@cache
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)


def render(name: str, **values: Any) -> HTMLResponse:
    """A page, with everything escaped that goes into it."""
    return HTMLResponse(_templates().get_template(f"{name}.html.jinja").render(orders=ORDERS, **values))


def static_files() -> dict[str, tuple[bytes, str]]:
    """Script and style by name, with their media types."""
    return {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in sorted((HERE / "static").iterdir())}


def entrance(access: Access) -> APIRouter:
    """The only route that answers without the token: the one that takes it."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def enter(request: Request, token: str | None = None) -> Response:
        if not access.opens(token) and not access.opens(request.cookies.get(access.cookie)):
            raise HTTPException(401, "not allowed without the token. Open the address that deixis serve printed")
        # A page and no redirect: after a link on another site, a redirect would not bring the cookie along.
        answer = render("enter")
        if token is not None:
            answer.set_cookie(access.cookie, access.token, httponly=True, samesite="strict")
        return answer

    return router


def page_routes(context: dict[str, Any], desk: Desk | None, uploads: Uploads | None, openapi: Any) -> APIRouter:
    """Pages and what they are made of.

    Args:
        context: What every page shows.
        desk: None where there are no labels.
        uploads: None where no model answers.
        openapi: Gives the schema of the JSON interface.
    """
    router, files = APIRouter(include_in_schema=False), static_files()

    @router.get("/start")
    def start() -> Response:
        return RedirectResponse("/review" if desk else "/try", 303)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, f"{name!r}: no such file. Allowed: {', '.join(files)}")
        data, kind = files[name]
        return Response(data, media_type=kind)

    @router.get("/openapi.json")
    def schema() -> dict[str, Any]:
        return openapi()

    if desk:

        @router.get("/review")
        def review() -> Response:
            desk.refresh()  # others may have written to the log since
            return render("review", page="review", listing=desk.listing, **context)

    if uploads:

        @router.get("/try")
        def try_phrases() -> Response:
            return render("try", page="try", **context)

        @router.get("/uploads/{number}")
        def uploaded(number: int) -> Response:
            data, kind = encode(upload_of(uploads, number))
            return Response(data, media_type=kind)

    return router


def picture_routes(pictures: Pictures) -> APIRouter:
    """Listed images, by number."""
    router = APIRouter(include_in_schema=False)

    @router.get("/pictures/{version}/{number}")
    def picture(version: str, number: Annotated[int, "its place in images.parquet"]) -> Response:
        if not 0 <= number < len(pictures):
            raise HTTPException(404, f"image {number}. Allowed: 0 to {len(pictures) - 1}")
        data, kind = pictures.encoded(number)
        return Response(data, media_type=kind, headers=KEPT)

    return router
