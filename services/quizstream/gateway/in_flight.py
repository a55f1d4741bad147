"""How much memory the requests in flight may take, in all and of one submission."""

from types import TracebackType
from typing import Final, Self

from quizstream.contracts.errors import TryLater

# One submission may hold an eighth: a student's page that sends in a loop leaves room for everybody else.
SHARES: Final = 8


class Lease:
    """What one request holds of the budget; leaving it as a context ends it."""

    __slots__ = ("_budget", "_submission_id", "held_bytes")

    def __init__(self, budget: "InFlightBudget", submission_id: int) -> None:
        self._budget = budget
        self._submission_id = submission_id
        self.held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.resize(0)

    def resize(self, held_bytes: int) -> None:
        """Hold `held_bytes` from now on.

        Raises:
            TryLater: that would exceed the budget, or with other requests of the same submission its share; what was
                held before still is.

        """
        self._budget.change(self._submission_id, self.held_bytes, held_bytes)
        self.held_bytes = held_bytes

    def pass_to(self, submission_id: int) -> None:
        """Count what is held for `submission_id` from now on.

        Raises:
            TryLater: its share is used up; then nothing is held any more.

        """
        held_bytes = self.held_bytes
        self.resize(0)
        self._submission_id = submission_id
        self.resize(held_bytes)


class InFlightBudget:
    """Bounds the bytes of bodies and records that wait for an answer."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._by_submission: dict[int, int] = {}

    def lease(self, submission_id: int) -> Lease:
        """Give a lease of nothing yet, to be entered as a context."""
        return Lease(self, submission_id)

    def change(self, submission_id: int, before: int, after: int) -> None:
        """Let a request of `submission_id` hold `after` instead of `before` bytes, as `Lease.resize` promises."""
        grows = after > before
        if grows and self.held_bytes - before + after > self.max_bytes:
            raise TryLater("overloaded", "Too many events are in flight.")
        others = self._by_submission.get(submission_id, 0) - before
        # A request on its own is bound by the total alone, or a full backlog might never pass.
        if grows and others and others + after > self.max_bytes // SHARES:
            raise TryLater("submission_overloaded", "Too many events of this submission are in flight.")
        self.held_bytes += after - before
        if others + after:
            self._by_submission[submission_id] = others + after
        else:
            self._by_submission.pop(submission_id, None)
