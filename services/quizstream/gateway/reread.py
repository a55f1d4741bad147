"""Reading an element again that was refused before, by the rules of now."""

from quizstream.contracts.errors import Refusal
from quizstream.contracts.events import CapturedEvent
from quizstream.gateway.json_body import parse_json
from quizstream.gateway.submission import Submission


def read_element(raw: bytes) -> CapturedEvent | str:
    """Give the event that the JSON text of an element is, or a stable reason why it is none."""
    reading = parse_json(b'{"quiz_submission_events":[%b]}' % raw)
    try:
        while True:
            next(reading)
    except StopIteration as finished:
        read: Submission = finished.value
    except Refusal as refusal:
        return refusal.code
    if len(read.events) + len(read.unusable) != 1:
        return "json_malformed"
    return read.events[0] if read.events else read.unusable[0].reason
