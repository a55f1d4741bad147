"""`quizstream gateway`."""

import sys
from functools import partial

from quizstream.gateway.app import running
from quizstream.gateway.settings import GatewaySettings
from quizstream.runtime.lifecycle import run
from quizstream.runtime.settings import load
from quizstream.runtime.telemetry import configure_logging


def main() -> int:
    """Run the gateway until a signal; give the exit status.

    Raises:
        StartRefused: a setting is wrong, or a topic is not safe to publish to.

    """
    settings = load(GatewaySettings)
    configure_logging(settings.log_level, settings.log_format)
    return run(partial(running, settings))


if __name__ == "__main__":
    sys.exit(main())
