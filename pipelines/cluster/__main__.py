"""Run a stage where DEIXIS_CLUSTER says; `run_stage` becomes this program.

run     DEIXIS_CLUSTER=local python -m pipelines.cluster stages.extract_features --encoder detector ...
"""

import sys

from deixis.core.errors import ConfigError
from pipelines._runner import TEMPORARY_FAILURE
from pipelines.cluster.launch import launch
from pipelines.cluster.tasks import LostError


def main() -> None:
    """Exit as the stage does: 2 where the cluster is wrong for it, 75 where it was lost on the way."""
    module, *arguments = sys.argv[1:]
    try:
        sys.exit(launch(module, arguments))
    except (ConfigError, LostError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, ConfigError) else TEMPORARY_FAILURE)


if __name__ == "__main__":
    main()
