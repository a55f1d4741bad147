from hypothesis import given
from hypothesis import strategies as st

from quizstream.worker.event import quoted


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoting_can_be_undone(text: str) -> None:
    inside = quoted(text.encode())
    assert inside[:1] == inside[-1:] == b"\x01"
    assert inside[1:-1].replace(b"\x01\x01", b"\x01") == text.encode()
    assert b"\x01" not in inside[1:-1].replace(b"\x01\x01", b"")
