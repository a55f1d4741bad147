"""What of the keys is wrong, for `quizstream check`."""

from quizstream.contracts.findings import Finding
from quizstream.runtime.access import open_keyring
from quizstream.runtime.settings import AccessSettings, SettingsError


async def check_keys(settings: AccessSettings) -> list[Finding]:
    """Read every source of keys, as a service does at its start."""
    try:
        keys = await open_keyring(settings)
    except SettingsError as error:
        return [Finding("keys", str(error), "set one of them")]
    if not keys.complete:
        return [Finding("keys", "a source of keys cannot be read", "see QUIZSTREAM_JWKS_FILE and QUIZSTREAM_JWKS_URL")]
    if not keys.key_count:
        return [Finding("keys", "the sources hold no usable key", "put a key of RS256, ES256 or EdDSA there")]
    return []
