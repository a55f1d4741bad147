from quizstream.local import ports


def test_no_port_is_given_twice() -> None:
    given = [ports.any_free() for _ in range(2_000)]
    assert len(set(given)) == len(given)
    assert ports.is_free(given[-1])
