"""The two kinds of mistake a user can fix, and the exit codes that tell them apart."""


class ConfigError(ValueError):
    """A setting, a name or a command line is wrong. Exit code 2."""

    exit_code = 2


class DataError(ValueError):
    """A file is missing, cut short or not what it claims to be. Exit code 65."""

    exit_code = 65
