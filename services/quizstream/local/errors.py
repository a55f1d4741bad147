"""Why a local engine cannot be had; every message is one line for the person who started it.

LocalEngineError
 +-- JarUnavailableError    Maven Central cannot be reached, or does not have the jar
 +-- JarChecksumError       what was fetched is not what this release was built with
 +-- DirectoryInUseError    another process runs an engine on this directory
 +-- EngineStartError       the process ended, or was not ready in time
      +-- PortTakenError    somebody else listens where it should
"""


class LocalEngineError(Exception):
    """A local engine could not be started; the message says what to do or where to look."""


class JarUnavailableError(LocalEngineError):
    """The jars are neither in the cache nor to be fetched now."""


class JarChecksumError(LocalEngineError):
    """A fetched jar differs from the one in the lock file; it was not kept."""


class DirectoryInUseError(LocalEngineError):
    """A living process holds the engine's directory."""


class EngineStartError(LocalEngineError):
    """The engine ended while starting or did not become ready before the deadline."""


class PortTakenError(EngineStartError):
    """Somebody else listens on the engine's port."""
