"""Prefect's settings and server: sound and reached before anything runs, or one message that says what to do.

Nothing of Prefect is imported before its settings were looked at: it reads them when it is imported, and stops there.
"""

import logging
import os
import select
import signal
import sys
import threading

from pydantic import ValidationError

from deixis.core.errors import ConfigError
from deixis.core.foreign import first_words

WITHOUT = "to do without Prefect, run: dvc repro"
STARTUP = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"

# Nine retries, each after twice the time, wait for a server that is away for ten minutes.
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "9")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault(STARTUP, "120")  # 20 are too few on busy cores


def refuse_wrong_settings() -> None:
    """Stop where Prefect cannot read its settings: a number that is none in the environment, a damaged profile.

    Raises:
        ConfigError: Names the variable, where it is one.
    """
    before = logging.root.manager.disable
    logging.disable()  # Prefect writes what is wrong into its log, too, and its traceback
    try:
        from prefect.context import root_settings_context

        root_settings_context()
    except ValidationError as error:
        raise ConfigError(f"{_told(error)}. Set it otherwise, or unset it; {WITHOUT}") from None
    except Exception as error:  # whatever a damaged file of profiles makes its readers raise
        raise ConfigError(
            f"Prefect cannot read its settings ({first_words(error)}). Look at PREFECT_PROFILES_PATH, or else at "
            f"profiles.toml in PREFECT_HOME (~/.prefect); {WITHOUT}"
        ) from None
    finally:
        logging.disable(before)


def _told(error: ValidationError) -> str:
    """The first setting that is wrong, by its variable where it comes from one."""
    problem = error.errors()[0]
    variables = (
        name for name, value in os.environ.items() if name.startswith("PREFECT_") and value == problem["input"]
    )
    name = next(variables, ".".join(map(str, problem["loc"])) or error.title)
    return f"{name} is {problem['input']!r}: {problem['msg']}"


def reach_server() -> None:
    """Ask the server that PREFECT_API_URL names whether it is there; start a temporary one where it names none.

    Raises:
        ConfigError: If none answers, or a temporary one has no place for its database.
    """
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME

    url, home = PREFECT_API_URL.value(), PREFECT_HOME.value()
    if not url and not os.access(home, os.W_OK):  # Prefect itself makes it where it can
        raise ConfigError(f"PREFECT_HOME is {home}: no folder that can be written. Name another, or unset PREFECT_HOME")
    try:
        with get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
    except Exception as error:  # a plain RuntimeError, or whatever the address makes of the connection
        problem = error
    if problem is not None and url:
        raise ConfigError(
            f"PREFECT_API_URL is {url}: no Prefect server answers there ({first_words(problem)}). Start it with: "
            "prefect server start; or unset PREFECT_API_URL, and a temporary one is started"
        )
    if problem is not None:
        raise ConfigError(
            f"Prefect's temporary server did not start ({first_words(problem)}). Give it longer with {STARTUP}, in "
            "seconds, or do without Prefect: dvc repro"
        )


def end_with_worker() -> None:
    """Let a run that a worker started end when that worker does, even if it was killed.

    The run would carry on until its next line of log, out of anybody's sight, while the next one waits for its turn.
    """
    from prefect.runtime import deployment

    if deployment.get_id() is not None:
        threading.Thread(target=_end_when_nobody_reads, daemon=True).start()


def _end_when_nobody_reads() -> None:
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # of a pipe, still told is that its reader is gone
    output.poll()
    os.kill(os.getpid(), signal.SIGTERM)
