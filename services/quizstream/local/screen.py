"""What `quizstream dev` shows when it is ready."""

from pathlib import Path
from typing import Final, NamedTuple

_PATH: Final = "/api/v1/courses/1/quizzes/2/submissions/3/events"


class Addresses(NamedTuple):
    """Where everything answers, and a token for posting and reading."""

    url: str
    admin_url: str
    bootstrap_servers: str
    topic: str
    log_file: Path
    token: str


def render_screen(shown: Addresses) -> str:
    """Give the screen: the address, a token, one POST and one GET to paste, where to look further."""
    # A fresh stamp with milliseconds: with a fixed one the second paste would be recognised as sent again.
    event = (
        """{"quiz_submission_events":[{"client_timestamp":"'$(date -u +%FT%T.%3NZ)'","event_type":"page_blurred"}]}"""
    )
    return f"""
quizstream is ready at {shown.url}

TOKEN={shown.token}

curl -i {shown.url}{_PATH} \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{event}'

curl {shown.url}{_PATH} -H "Authorization: Bearer $TOKEN"

health and metrics  {shown.admin_url}/readyz  {shown.admin_url}/metrics
events as records   {shown.bootstrap_servers}, topic {shown.topic}
log                 {shown.log_file}

Ctrl-C stops everything; what was stored stays.
"""
