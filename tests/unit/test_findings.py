import json

import pytest

from quizstream.contracts.findings import Finding, are_fit, as_json, as_lines, clock_finding

FAULT = Finding("topic events", "It has 1 of 3 replicas", "kafka-reassign-partitions.sh, to 3 replicas")
ADVICE = Finding("kafka", "events travel in the clear", "use TLS", advice=True)


def test_each_finding_is_one_line_with_its_remedy() -> None:
    assert as_lines(["gateway"], [FAULT, ADVICE]) == (
        "fault: topic events: It has 1 of 3 replicas: kafka-reassign-partitions.sh, to 3 replicas\n"
        "advice: kafka: events travel in the clear: use TLS\n"
    )
    assert as_lines(["gateway", "worker"], []) == "fit: gateway, worker\n"


def test_advice_alone_leaves_a_deployment_fit() -> None:
    assert are_fit([ADVICE])
    assert not are_fit([ADVICE, FAULT])
    assert json.loads(as_json(["gateway"], [FAULT])) == {
        "fit": False,
        "checked": ["gateway"],
        "findings": [FAULT._asdict()],
    }


@pytest.mark.parametrize(("theirs", "fit"), [(100, True), (94.5, False), (95.5, True), (106, True), (108, False)])
def test_a_clock_may_differ_by_five_seconds_beyond_the_time_of_asking(theirs: float, fit: bool) -> None:
    assert (clock_finding("postgresql", theirs, 100, 102) == []) is fit
