"""From the bytes of a request's body to the events in it."""

from quizstream.gateway.content_type import ContentType
from quizstream.gateway.form_body import parse_form
from quizstream.gateway.json_body import parse_json
from quizstream.gateway.multipart_body import parse_multipart
from quizstream.gateway.submission import Result, Sliced, Submission


def parse_slices(body: bytes, content_type: ContentType) -> Sliced[Submission]:
    """Read a body, stopping about every `SLICE_BYTES` so that others may run.

    Raises:
        BadBody: it is not in the format that `content_type` names, or what is in it is no list of events.
        BodyTooLarge: it holds too many elements or fields.

    """
    if content_type.body_format == "json":
        return parse_json(body)
    if content_type.body_format == "form":
        return parse_form(body)
    return parse_multipart(body, content_type.boundary)


def parse(body: bytes, content_type: ContentType) -> Submission:
    """Read a body in one go, as `parse_slices` does."""
    return finish(parse_slices(body, content_type))


def finish(work: Sliced[Result]) -> Result:
    """Drive sliced work to its end without a rest."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: Result = done.value
            return result
