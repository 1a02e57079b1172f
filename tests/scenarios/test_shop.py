"""The shop, twice, from its first step to its last: on the real engine, with what an installation would load."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from departments.models import WorkItem
from tests.factories import UserFactory
from workflows import registry
from workflows.engine.events import Responded
from workflows.execution.definitions import get_definition
from workflows.execution.respond import signal_job
from workflows.execution.services import ServiceLoop
from workflows.execution.worker import drain
from workflows.intake.events import receive_event
from workflows.intake.exceptions import InvalidSubmission
from workflows.intake.submit import Submission, submit_job
from workflows.messaging.relay import Relay
from workflows.models import Event, History, Job, SubscriptionRun, TaskRun

pytestmark = pytest.mark.django_db(transaction=True)
ORDER = {
    "order_no": "S-1",
    "customer": "C-9",
    "total": 120,
    "lines": [{"sku": "LAMP-7", "quantity": 2}],
}


@pytest.fixture(autouse=True)
def _loaded(db: None) -> Any:
    registry.forget()
    get_definition.cache_clear()
    call_command("load_examples", stdout=StringIO())


# ---- one who commands -----------------------------------------------------------------------------------------------


def ordered(**fields: Any) -> Job:
    job = submit_job(Submission("shop_order", {**ORDER, **fields}, correlation_id="S-1"), submitted_by=None).job
    drain()
    return Job.objects.select_related("data").get(pk=job.pk)


def packed(job: Job, outcome: str) -> Job:
    with transaction.atomic():
        signal_job(job.pk, Responded("pack", 1, outcome, {}, "packer"), history_event="response.received")
    drain()
    return Job.objects.select_related("data").get(pk=job.pk)


def undone(job: Job) -> list[str]:
    runs = TaskRun.objects.filter(job=job, task__startswith="undo:", status="done").order_by("sequence")
    return [run.task for run in runs]


def test_an_order_is_reserved_discounted_paid_packed_and_told() -> None:
    job = ordered(points=2000)
    assert job.status == "PEND", job.data.error
    assert WorkItem.objects.get().department.code == "packing"
    job = packed(job, "packed")
    assert job.status == "DONE", job.data.error
    assert job.data.output["amount"] == 100
    assert job.data.output["payment"].startswith("PAY-")
    Relay().run_once()
    event = Event.objects.get()
    assert (event.type, event.key, event.data["order_no"]) == ("order.completed", "S-1", "S-1")


def test_a_refused_payment_gives_the_points_and_then_the_goods_back() -> None:
    job = ordered(total=5000, points=100)
    assert job.status == "CANC", job.data.error
    assert undone(job) == ["undo:redeem", "undo:reserve"]
    outputs = dict(TaskRun.objects.filter(job=job, status="done").values_list("task", "output"))
    assert outputs["undo:redeem"] == {"returned": outputs["redeem"]["booking"], "points": 100}
    assert outputs["undo:reserve"] == {"released": outputs["reserve"]["reservation"]}
    assert job.data.error["name"] == "PaymentRefused"
    assert History.objects.filter(job=job, event="job.compensating").exists()


def test_an_order_that_cannot_be_packed_is_paid_back_first() -> None:
    job = packed(ordered(), "broken")
    assert job.status == "CANC", job.data.error
    assert undone(job) == ["undo:pay", "undo:redeem", "undo:reserve"]
    assert job.data.error["name"] == "NotPacked"


def test_an_order_that_is_not_in_stock_has_nothing_to_undo() -> None:
    job = ordered(lines=[{"sku": "LAMP-7", "quantity": 101}])
    assert (job.status, undone(job), job.data.error["name"]) == ("CANC", [], "OutOfStock")


# ---- nobody who commands --------------------------------------------------------------------------------------------


def placed(event_id: str = "1", **fields: Any) -> list[str]:
    """Place an order by event, let everybody react, and answer what was said, in its order."""
    document = {
        **{"specversion": "1.0", "id": event_id, "source": "/shop/web", "type": "order.placed"},
        **{"correlationkey": "S-1", "data": {**ORDER, **fields}},
    }
    receive_event(document, received_by=UserFactory())
    loop = ServiceLoop()
    while drain():
        loop.run_due()
    return list(Event.objects.order_by("id").values_list("type", flat=True))


def test_a_placed_order_is_reserved_paid_and_rewarded_by_services_that_know_nothing_of_each_other() -> None:
    assert placed() == ["order.placed", "stock.reserved", "payment.taken", "points.awarded"]
    assert Event.objects.get(type="points.awarded").data == {"order_no": "S-1", "points": 120}
    jobs = Job.objects.order_by("id")
    assert [job.workflow for job in jobs] == ["shop_warehouse", "shop_payment", "shop_loyalty"]
    assert {(job.status, job.correlation_id) for job in jobs} == {("DONE", "S-1")}
    sender = Event.objects.get(type="order.placed").received_by
    assert {job.submitted_by for job in jobs} == {sender}, "whoever caused it can follow it"


def test_a_refused_payment_lets_the_warehouse_put_the_goods_back() -> None:
    assert placed(total=5000) == ["order.placed", "stock.reserved", "payment.refused", "stock.released"]
    said = dict(Event.objects.values_list("type", "data"))
    assert said["stock.released"]["reservation"] == said["stock.reserved"]["reservation"]
    assert "over the limit" in said["payment.refused"]["reason"]


def test_goods_that_are_not_there_are_told_and_nobody_pays() -> None:
    assert placed(lines=[{"sku": "LAMP-7", "quantity": 101}]) == ["order.placed", "stock.missing"]


def test_an_order_placed_twice_is_carried_out_once_and_a_wrong_one_not_at_all() -> None:
    placed()
    assert placed() == ["order.placed", "stock.reserved", "payment.taken", "points.awarded"]
    assert SubscriptionRun.objects.count() == 3
    with pytest.raises(InvalidSubmission) as caught:
        placed("2", lines=[])
    assert [fault.pointer for fault in caught.value.faults] == ["/data/lines"]
