"""The two example workflows, played to their end: the rules decide, the plugins run, answers come from a script."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.support import NOW, attached, step
from workflows.engine.contract import Completed, NewDocument, Plugin, StepError
from workflows.engine.decide import decide, step_input
from workflows.engine.events import JobStarted, Responded, TaskCompleted, TaskFailed, TimePassed
from workflows.engine.parsing import load_text, parse
from workflows.engine.state import JobState
from workflows.registry import load_class

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
CLAIM = {
    "claim_no": "C-1001",
    "policy_no": "HH-204817",
    "claimant": {"name": "A. Claimant"},
    "incident_date": "2026-03-01",
    "amount": 480.5,
}
ORDER = {
    "reference": "R-1",
    "customer": {"name": "A. Customer", "address": "1 Street"},
    "lines": [{"sku": "LAMP-1", "quantity": 2, "unit_price": 20}],
}


def document(name: str) -> dict[str, Any]:
    path = PLUGINS / name
    media_type = "application/yaml" if path.suffix == ".yaml" else "application/json"
    return load_text(path.read_text(encoding="utf-8"), media_type)


def registrations() -> dict[str, dict[str, Any]]:
    rows = [row for path in PLUGINS.glob("*/registrations.json") for row in json.loads(path.read_text())]
    assert len({row["job_type"] for row in rows}) == len(rows)
    return {row["job_type"]: row for row in rows}


class Played:
    """One job, from its input and a script of answers `(task, outcome, data)` to where the script leaves it."""

    def __init__(self, name: str, input: Any, *answers: tuple[str, str, Any], **configuration: dict[str, Any]) -> None:
        self.definition = parse(document(name))
        self.configuration = configuration
        self.published: list[str] = []
        self.documents: list[NewDocument] = []
        self.now = NOW
        self.state = JobState.new(input)
        self.happens(JobStarted("job-1", NOW, 50))
        self.work()
        for task, outcome, data in answers:
            waiting = {found.task: found.iteration for found in self.state.waiting}
            assert task in waiting, f"{task} is not waiting; {sorted(waiting)} is"
            self.happens(Responded(task, waiting[task], outcome, data))
            self.work()

    def happens(self, event: Any) -> None:
        decision = decide(self.definition, self.state, event, self.now)
        self.state = decision.state
        self.published += [command.event for command in decision.commands if type(command).__name__ == "Publish"]

    def work(self) -> None:
        while self.state.runnable:
            task = self.state.runnable[0]
            self.happens(self.run(task))

    def run(self, task: str) -> TaskCompleted | TaskFailed:
        standing = self.state.tasks[task]
        input = step_input(self.definition, self.state, task)
        plugin = self.plugin(str(self.definition.tasks[task].plugin))
        context = step(
            input,
            attempt=standing.attempt,
            idempotency_key=f"{task}/{standing.iteration}",
            documents=(attached(),),
            now=self.now,
        )
        try:
            answer = plugin.run(context)
        except StepError as error:
            return TaskFailed(task, standing.iteration, error.name, str(error))
        assert isinstance(answer, Completed)
        self.documents += answer.documents
        return TaskCompleted(task, standing.iteration, json.loads(json.dumps(answer.output)), answer.outcome)

    def plugin(self, job_type: str) -> Plugin:
        row = registrations()[job_type]
        configuration = {**row["configuration"], **self.configuration.get(job_type.replace(".", "_"), {})}
        return load_class(row["module"], row["class_name"])(configuration)

    def passes(self, time: timedelta) -> None:
        self.now += time
        self.happens(TimePassed())
        self.work()

    @property
    def waits_for(self) -> list[str]:
        return [waiting.task for waiting in self.state.waiting]


def claim(input: Any, *answers: tuple[str, str, Any], **configuration: dict[str, Any]) -> Played:
    return Played("claims/definition.json", input, *answers, **configuration)


def order(input: Any, *answers: tuple[str, str, Any]) -> Played:
    return Played("orders/definition.yaml", input, *answers)


PACKED = ("pack", "packed", {"parcels": 1})
SHIPPED = ("ship", "shipped", {"tracking_no": "T1"})
DELIVERED = ("deliver", "delivered", {"signed_by": "A. Neighbour"})


def test_an_approved_claim_is_paid_and_the_letter_says_so() -> None:
    job = claim(CLAIM, ("verify", "approve", {"payable": 400, "note": "ok"}))
    assert job.state.status == "DONE", job.state.error
    assert job.state.output["decision"] == "approved"
    assert job.state.output["payment_reference"].startswith("PAY-")
    assert "We pay 400.00 EUR" in job.documents[0].content.decode()
    assert job.published == ["claim.paid"]


@pytest.mark.parametrize("data", [None, {}])
def test_without_an_amount_from_the_verifier_the_claimed_amount_is_paid(data: Any) -> None:
    job = claim(CLAIM, ("verify", "approve", data))
    assert "We pay 480.50 EUR" in job.documents[0].content.decode()


@pytest.mark.parametrize(("data", "reason"), [({"note": "Not covered."}, True), (None, False), ({}, False)])
def test_a_rejected_claim_is_declined_with_the_verifier_s_reason(data: Any, reason: bool) -> None:
    job = claim(CLAIM, ("verify", "reject", data))
    assert job.state.status == "DONE", job.state.error
    assert job.state.output == {
        "claim_no": "C-1001",
        "decision": "declined",
        "letter": "decision-C-1001.txt",
        "payment_reference": None,
    }
    assert ("The reason: Not covered." in job.documents[0].content.decode()) is reason
    assert job.published == ["claim.declined"]


def test_a_returned_claim_is_completed_validated_again_and_verified_again() -> None:
    job = claim(
        CLAIM,
        ("verify", "return", {"note": "Which amount?"}),
        ("complete", "completed", {"amount": 300}),
        ("verify", "approve", None),
    )
    assert job.state.status == "DONE", job.state.error
    assert "We pay 300.00 EUR" in job.documents[0].content.decode()
    assert job.state.tasks["verify"].iteration == 2


def test_an_incomplete_claim_goes_to_claimant_services_before_anybody_verifies_it() -> None:
    job = claim({"claim_no": "C-1"})
    assert job.waits_for == ["complete"]


def test_a_withdrawn_claim_ends_with_a_letter_that_says_so() -> None:
    job = claim({"claim_no": "C-1"}, ("complete", "withdrawn", None))
    assert job.state.status == "DONE", job.state.error
    assert job.state.output["decision"] == "withdrawn"
    assert "You have withdrawn your claim" in job.documents[0].content.decode()


def test_a_claim_returned_without_end_stops_at_the_loop_s_limit() -> None:
    again = (("verify", "return", None), ("complete", "completed", None))
    job = claim(CLAIM, *(again * 6))
    assert job.state.status == "FAIL"
    assert job.state.error is not None
    assert job.state.error["name"] == "LoopLimitExceeded"


def test_a_gateway_that_is_away_is_tried_again_and_the_claim_is_paid_once() -> None:
    job = claim(CLAIM, ("verify", "approve", None), claims_pay={"unavailable_attempts": 2})
    assert job.state.status == "PEND"
    for _ in range(2):
        job.passes(timedelta(seconds=20))
    assert job.state.status == "DONE", job.state.error
    assert len(job.documents) == 1


@pytest.mark.parametrize(
    ("outcome", "data", "decision"),
    [("settled", {"amount": 480.5, "payment_reference": "BANK-7"}, "approved"), ("settled", None, "approved"),
     ("refused", None, "declined")],
)  # fmt: skip
def test_a_refused_payment_is_settled_by_hand(outcome: str, data: Any, decision: str) -> None:
    job = claim(CLAIM, ("verify", "approve", None), ("settle", outcome, data), claims_pay={"limit": 100})
    assert job.state.status == "DONE", job.state.error
    assert job.state.output["decision"] == decision
    assert ("BANK-7" in job.documents[0].content.decode()) is bool(data)


def test_an_order_goes_through_its_three_departments_to_the_invoice() -> None:
    job = order(ORDER, PACKED, SHIPPED, DELIVERED)
    assert job.state.status == "DONE", job.state.error
    assert job.state.output["total"] == 40.0
    assert job.documents[0].name == job.state.output["invoice"]
    assert "signed for by A. Neighbour" in job.documents[0].content.decode()
    assert job.published[-1] == "order.closed"


def test_a_damaged_parcel_is_packed_and_shipped_again() -> None:
    job = order(ORDER, PACKED, SHIPPED, ("deliver", "damaged", {"note": "wet"}), PACKED, SHIPPED, DELIVERED)
    assert job.state.status == "DONE", job.state.error
    assert job.state.tasks["pack"].iteration == 2
    assert job.state.tasks["create"].iteration == 1


@pytest.mark.parametrize(
    "answers",
    [
        (("pack", "out_of_stock", None),),
        (PACKED, ("ship", "strike", None)),
        (PACKED, SHIPPED, ("deliver", "lost", None)),
    ],
)
def test_an_answer_nobody_foresaw_goes_to_the_order_desk(answers: tuple[tuple[str, str, Any], ...]) -> None:
    job = order(ORDER, *answers)
    assert job.waits_for == ["clarify"]
    job = order(ORDER, *answers, ("clarify", "continue", None), PACKED, SHIPPED, DELIVERED)
    assert job.state.status == "DONE", job.state.error


def test_the_order_desk_can_cancel_an_order() -> None:
    job = order(ORDER, ("pack", "out_of_stock", None), ("clarify", "cancel", {"note": "sold out"}))
    assert job.state.status == "DONE", job.state.error
    assert job.published[-1] == "order.cancelled"
    assert job.state.output["invoice"] is None


def test_an_order_that_cannot_be_carried_out_is_cancelled_at_once() -> None:
    job = order({**ORDER, "lines": [{"sku": "A", "quantity": 0, "unit_price": 1}]})
    assert job.state.status == "DONE", job.state.error
    assert job.published == ["order.cancelled"]


def test_nothing_is_packed_before_the_date_the_customer_asked_for() -> None:
    job = order({**ORDER, "ship_after": "2026-03-15T09:00:00Z"})
    assert job.waits_for == ["hold"]
    job.passes(timedelta(days=1))
    assert job.waits_for == ["pack"]


@pytest.mark.parametrize(("job_type", "row"), list(registrations().items()))
@pytest.mark.django_db
def test_every_registration_of_the_examples_can_run(job_type: str, row: dict[str, Any]) -> None:
    from workflows.models import PluginRegistration
    from workflows.registry import faults_of

    assert faults_of(PluginRegistration(**row)) == []
