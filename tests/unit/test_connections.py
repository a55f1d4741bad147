"""Which connection makes room for the next."""

from quizstream.runtime.connections import Connections


class FakeConnection:
    """A connection that is idle until told otherwise."""

    def __init__(self) -> None:
        self.is_idle = True
        self.closed = False

    def force_close(self) -> None:
        self.closed = True


def opened(count: int, most: int) -> tuple[Connections, list[FakeConnection]]:
    connections, made = Connections(most), [FakeConnection() for _ in range(count)]
    for one in made:
        connections.open(one)
    return connections, made


def use(connections: Connections, connection: FakeConnection) -> None:
    connections.begin_request(connection)
    connections.end_request(connection)


def closed(made: list[FakeConnection]) -> list[int]:
    return [index for index, one in enumerate(made) if one.closed]


def test_below_the_bound_nothing_needs_room() -> None:
    connections, _ = opened(2, most=3)
    assert not connections.is_full
    connections.open(FakeConnection())
    assert connections.is_full


def test_the_one_that_has_been_idle_longest_goes_first() -> None:
    connections, made = opened(3, most=3)
    for index in (0, 2, 1, 0):
        use(connections, made[index])
    assert connections.make_room()
    assert closed(made) == [2]
    assert connections.make_room()
    assert closed(made) == [1, 2]
    assert len(connections) == 1


def test_those_that_never_had_a_request_go_before_those_that_are_kept() -> None:
    connections, made = opened(3, most=3)
    use(connections, made[0])
    for _ in range(2):
        connections.make_room()
    assert closed(made) == [1, 2]


def test_what_is_in_use_is_left_alone() -> None:
    connections, made = opened(2, most=2)
    connections.begin_request(made[0])
    assert connections.make_room()
    assert closed(made) == [1]
    assert not connections.make_room()
    connections.end_request(made[0])
    assert connections.make_room()


def test_what_has_just_got_a_request_is_left_alone() -> None:
    connections, made = opened(2, most=2)
    made[0].is_idle = False
    assert connections.make_room()
    assert closed(made) == [1]
    assert not connections.make_room()


def test_what_was_closed_is_forgotten_whatever_comes_after() -> None:
    connections, made = opened(2, most=2)
    connections.begin_request(made[0])
    connections.close(made[0])
    connections.end_request(made[0])
    connections.close(made[0])
    assert len(connections) == 1
    assert connections.make_room()
    assert not connections.make_room()
    assert closed(made) == [1]
