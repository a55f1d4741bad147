"""`quizstream worker`."""

import sys
from functools import partial

from quizstream.runtime.lifecycle import run
from quizstream.runtime.settings import load
from quizstream.runtime.telemetry import configure_logging
from quizstream.worker.app import running
from quizstream.worker.settings import WorkerSettings


def main() -> int:
    """Run the worker until a signal; give the exit status.

    Raises:
        StartRefused: a setting is wrong, or the topic is not the one of the store.

    """
    settings = load(WorkerSettings)
    configure_logging(settings.log_level, settings.log_format)
    return run(partial(running, settings))


if __name__ == "__main__":
    sys.exit(main())
