"""`quizstream canary`."""

import sys
from functools import partial

from quizstream.canary.app import running
from quizstream.canary.settings import CanarySettings
from quizstream.runtime.lifecycle import run
from quizstream.runtime.settings import load
from quizstream.runtime.telemetry import configure_logging


def main() -> int:
    """Run the canary until a signal; give the exit status.

    Raises:
        StartRefused: a setting is wrong or missing.

    """
    settings = load(CanarySettings)
    configure_logging(settings.log_level, settings.log_format)
    return run(partial(running, settings))


if __name__ == "__main__":
    sys.exit(main())
