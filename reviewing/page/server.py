"""Running the app on this machine's own address, until it is interrupted."""

import errno
import signal
import socket
import webbrowser

import uvicorn
from starlette.types import ASGIApp

from deixis.core.errors import ConfigError

ADDRESS = "127.0.0.1"
GRACE_S = 3  # for requests that are being answered when the server is stopped


def listen(port: int) -> socket.socket:
    """A socket that nobody outside this machine reaches.

    Args:
        port: 0 takes a free one.

    Raises:
        ConfigError: If the port is taken, or may not be used.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port is {port}. Allowed: 1 to 65535, or 0 for a free one")
    # Named TCP, asyncio sends small answers at once; else the other side's delayed receipt costs 40 ms a request.
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((ADDRESS, port))
        opened.listen()
    except OSError as error:
        opened.close()
        what = "is taken, perhaps by another deixis serve" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError(f"--port {port}: {what}. Name another one, or 0 for a free one") from None
    return opened


def run(app: ASGIApp, opened: socket.socket, address: str, *, show: bool) -> None:
    """Answer until interrupted.

    Args:
        address: With the token; printed, since nothing else leads in.
        show: Also open it in a browser.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)

    def end(number: int, frame: object) -> None:
        """Also before it answers: an exception there would end it with half a message, and no table written."""
        server.should_exit = True

    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, end)
    print(f"{address}\nOpen it in a browser on this machine. Ctrl-C ends the server.", flush=True)
    if show:
        webbrowser.open(address)  # the socket listens already, so the browser waits
    server.run([opened])
