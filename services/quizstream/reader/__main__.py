"""`quizstream reader`."""

import sys
from functools import partial

from quizstream.reader.app import running
from quizstream.reader.settings import ReaderSettings
from quizstream.runtime.lifecycle import run
from quizstream.runtime.settings import load
from quizstream.runtime.telemetry import configure_logging


def main() -> int:
    """Run the reader until a signal, and give the exit status.

    Raises:
        StartRefused: a setting is wrong, or there is no key to verify tokens with.

    """
    settings = load(ReaderSettings)
    configure_logging(settings.log_level, settings.log_format)
    return run(partial(running, settings))


if __name__ == "__main__":
    sys.exit(main())
