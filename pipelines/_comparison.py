"""What a run did to the results, for the page that Prefect shows of it."""

from pathlib import Path

from deixis.core.errors import ConfigError, DataError


def comparison() -> str:
    """Results against those of the last commit, as Markdown; where there is nothing to compare, why."""
    from commands.compare import compare  # takes seconds

    out = Path("comparison")
    try:
        compare("HEAD", out=out)
    except (ConfigError, DataError) as error:
        return str(error)
    return (out / "comparison.md").read_text(encoding="utf-8")
