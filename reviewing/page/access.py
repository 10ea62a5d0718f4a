"""Who may ask: whoever has the token, from this machine, from the page itself.

The token is in the address that is printed. A browser hands it in once and gets a cookie, which scripts cannot read and
which other sites' pages do not send; programs send it with every request. Other programs' pages on this machine count
as the same site, since cookies know no ports: so writes also need an Origin that is ours.

Source: the rules of Jupyter's server (token, cookie by port, Host, Origin).
"""

from secrets import compare_digest, token_urlsafe

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ["127.0.0.1", "localhost"]
READS = ("GET", "HEAD", "OPTIONS")
SMALL_BODY = 64 << 10  # bytes; all but an uploaded image
TOO_LARGE = "the body is too large. Allowed: 64 kB, and for an uploaded image what --max-upload says"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Access:
    """The rules of one server. A dependency of its routes.

    Args:
        port: Of the server; cookies are named by it, so that two servers have one each.
    """

    def __init__(self, port: int) -> None:
        self.token = token_urlsafe(32)
        self.cookie = f"deixis-{port}"
        self._bearer = HTTPBearer(auto_error=False, description="The token of the address that deixis serve prints")
        self._by_cookie = APIKeyCookie(name=self.cookie, auto_error=False)

    def opens(self, token: str | None) -> bool:
        """Whether it is the token."""
        return token is not None and compare_digest(token.encode(), self.token.encode())

    def dependency(self):
        """A function that FastAPI calls before a route's own."""
        bearer, by_cookie = Security(self._bearer), Security(self._by_cookie)

        def allowed(
            request: Request,
            credentials: HTTPAuthorizationCredentials | None = bearer,
            cookie: str | None = by_cookie,
        ) -> None:
            by_header = credentials is not None and self.opens(credentials.credentials)
            if not by_header and not self.opens(cookie):
                raise HTTPException(
                    401, "not allowed without the token. Open the address that deixis serve printed when it started"
                )
            self._check_origin(request, needed=not by_header)

        return allowed

    def _check_origin(self, request: Request, *, needed: bool) -> None:
        """Refuse writes that another page sends. Every browser says where a write comes from; programs need not."""
        if request.method in READS:
            return
        origin, own = request.headers.get("origin"), f"http://{request.headers.get('host', '')}"
        if origin != own and (needed or origin is not None):
            raise HTTPException(403, f"a write from {origin or 'nowhere'}. Allowed: from {own}, which is this page")


class Guarded:
    """An app behind what holds for every answer, errors too: headers, and limits of bodies.

    Args:
        uploads: The only path whose body may have `max_upload` bytes.
    """

    def __init__(self, app: ASGIApp, *, uploads: str, max_upload: int) -> None:
        self._uploads = uploads
        self._max_upload = max_upload
        self._small = RequestBodyLimitMiddleware(app, max_body_size=SMALL_BODY)
        self._large = RequestBodyLimitMiddleware(app, max_body_size=max_upload)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        is_upload = scope["type"] == "http" and scope["path"] == self._uploads
        app: ASGIApp = self._large if is_upload else self._small
        if _stated_length(scope) > (self._max_upload if is_upload else SMALL_BODY):
            app = JSONResponse({"error": TOO_LARGE}, 413)  # the limits below would say so without a remedy
        await app(scope, receive, send_with_headers)


def _stated_length(scope: Scope) -> int:
    """Bytes that a request says it has; 0 where it does not say, or nonsense, which is counted as it comes."""
    stated = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
    return int(stated) if stated.isdecimal() and len(stated) < 20 else 0
