"""What canvasapi 3.6.0 was recorded to send, byte for byte but for the token."""

from collections.abc import Sequence
from typing import Final

import pytest
from tests.acceptance.api import Shown, SubmissionLog, stored
from tests.acceptance.system import token

from quizstream.contracts.access import POST_SCOPE

CANVASAPI_HEAD: Final = (
    b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: python-canvasapi/3.6.0\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nAuthorization: Bearer %b\r\n"
    b"Content-Length: %d\r\nContent-Type: %b\r\n\r\n"
)
RECORDED: Final = {
    "dicts": (
        b"application/x-www-form-urlencoded",
        651,
        (
            b"quiz_submission_events%5B%5D%5Bclient_timestamp%5D=2026-11-21T19%3A24%3A17.393Z&quiz_submission_events%5B%5D"
            b"%5Bevent_type%5D=question_answered&quiz_submission_events%5B%5D%5Bevent_data%5D%5B%5D%5Bquiz_question_id%5D="
            b"1&quiz_submission_events%5B%5D%5Bevent_data%5D%5B%5D%5Banswer%5D=42+%C3%A9+%F0%9F%98%80+10a7c7274151&quiz_su"
            b"bmission_events%5B%5D%5Bclient_timestamp%5D=2026-11-21T19%3A24%3A18.393Z&quiz_submission_events%5B%5D%5Beven"
            b"t_type%5D=question_flagged&quiz_submission_events%5B%5D%5Bevent_data%5D%5BquestionId%5D=1&quiz_submission_ev"
            b"ents%5B%5D%5Bevent_data%5D%5Bflagged%5D=true&quiz_submission_events%5B%5D%5Bevent_data%5D%5Brun%5D=10a7c7274"
            b"151"
        ),
        [
            Shown(
                "question_answered",
                '[{"quiz_question_id":"1","answer":"42 \u00e9 \U0001f600 10a7c7274151"}]'.encode(),
                "2026-11-21T19:24:17.393Z",
            ),
            Shown(
                "question_flagged",
                b'{"questionId":"1","flagged":"true","run":"10a7c7274151"}',
                "2026-11-21T19:24:18.393Z",
            ),
        ],
    ),
    "JSON": (
        b"application/json",
        266,
        (
            b'{"quiz_submission_events": [{"client_timestamp": "2026-11-21T19:24:19.393Z", "event_type": "question_vie'
            b'wed", "event_data": ["1", "2", "10a7c7274151"]}, {"client_timestamp": "2026-11-21T19:24:19.393Z", "even'
            b't_type": "page_blurred_10a7c7274151", "event_data": null}]}'
        ),
        [
            Shown("question_viewed", b'["1", "2", "10a7c7274151"]', "2026-11-21T19:24:19.393Z"),
            Shown("page_blurred_10a7c7274151", b"null", "2026-11-21T19:24:19.393Z"),
        ],
    ),
    "event objects": (
        b"application/x-www-form-urlencoded",
        97,
        b"quiz_submission_events%5B%5D=capi_a_10a7c7274151&quiz_submission_events%5B%5D=capi_b_10a7c7274151",
        [Shown("capi_a_10a7c7274151"), Shown("capi_b_10a7c7274151")],
    ),
}


@pytest.mark.parametrize(("kind", "length", "body", "expected"), RECORDED.values(), ids=RECORDED.keys())
async def test_what_canvasapi_was_recorded_to_send_is_stored(
    own_log: SubmissionLog, kind: bytes, length: int, body: bytes, expected: Sequence[Shown]
) -> None:
    head = CANVASAPI_HEAD % (own_log.path.encode(), token(POST_SCOPE).encode(), length, kind)
    answer = await own_log.send(head + body)
    assert (answer.status, answer.body) == (204, b"")
    assert await stored(own_log, len(expected)) == expected
