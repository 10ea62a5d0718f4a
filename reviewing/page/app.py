"""The server as one app: routes, rules of access, errors as one message."""

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from deixis.core.errors import ConfigError, DataError
from reviewing.log import LogFailed
from reviewing.page.access import HOSTS, TOO_LARGE, Access, Guarded
from reviewing.page.desk import Desk
from reviewing.page.model import Model
from reviewing.page.page_routes import entrance, page_routes, picture_routes, render
from reviewing.page.pictures import Pictures, Uploads
from reviewing.page.review_routes import review_routes
from reviewing.page.schema import Problem
from reviewing.page.try_routes import UPLOADS, try_routes

MAX_UPLOAD = 50 << 20  # bytes
WHERE = ("body", "query", "path")  # FastAPI's words for where a value was


@dataclass(frozen=True)
class Parts:
    """What is served; what there is none of is not.

    Attributes:
        pictures: Listed images.
        version: Tells one list of images from another.
        log: Names the log for the browser, which keeps decisions that did not reach the server.
    """

    access: Access
    desk: Desk | None = None
    pictures: Pictures | None = None
    model: Model | None = None
    who: str = ""
    labels: str = ""
    version: str = ""
    log: str = ""
    max_upload: int = MAX_UPLOAD


def build_app(parts: Parts) -> ASGIApp:
    """The whole server, to be run or tested."""
    app = FastAPI(
        title="deixis serve",
        description="Try phrases, and go through labels. Every error is a JSON object with one message.",
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        responses={code: {"model": Problem} for code in (401, 403, 404, 409, 422, 503)},
    )
    _say_errors_plainly(app)
    app.include_router(entrance(parts.access))
    guard = [Depends(parts.access.dependency())]
    for router in _routers(parts, app):
        app.include_router(router, dependencies=guard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
    return Guarded(app, uploads=UPLOADS, max_upload=parts.max_upload)


def _routers(parts: Parts, app: FastAPI) -> list[APIRouter]:
    uploads = Uploads() if parts.model else None
    picture_url = f"/pictures/{parts.version}/{{}}"
    context = {
        "who": parts.who,
        "labels": parts.labels,
        "log": parts.log,
        "can_review": parts.desk is not None,
        "can_try": parts.model is not None,
        "images": len(parts.pictures) if parts.pictures else 0,
        "megabytes": parts.max_upload >> 20,
    }
    routers = [page_routes(context, parts.desk, uploads, app.openapi)]
    if parts.desk:
        routers.append(review_routes(parts.desk, picture_url))
    if parts.pictures:
        routers.append(picture_routes(parts.pictures))
    if parts.model and uploads:
        routers.append(try_routes(parts.model, parts.pictures, uploads, picture_url))
    return routers


def _say_errors_plainly(app: FastAPI) -> None:
    """One message for every error: JSON, or a page where a person asked."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _problem(request, error.status_code, TOO_LARGE if error.status_code == 413 else str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> Response:
        return _problem(request, 422, "; ".join(map(_in_words, error.errors())))

    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> Response:
        return _problem(request, 500, "something is wrong here. The terminal of deixis serve says what")

    @app.exception_handler(LogFailed)
    async def not_written(request: Request, error: LogFailed) -> Response:
        return _problem(request, 503, str(error))

    @app.exception_handler(DataError)
    @app.exception_handler(ConfigError)
    async def bad_data(request: Request, error: DataError | ConfigError) -> Response:
        return _problem(request, 422, str(error))


def _problem(request: Request, code: int, message: str) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        page = render("problem", page="problem", message=message)
        page.status_code = code
        return page
    return JSONResponse({"error": message}, code)


def _in_words(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"] if part not in WHERE)
    return f"{place or 'the body'}: {error['msg']}"


def version_of(*texts: object) -> str:
    """A short name that differs where one of the texts does."""
    return hashlib.sha256("\0".join(map(str, texts)).encode()).hexdigest()[:16]
