"""The state machine, the statements' guards and the database's constraints say the same."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_fsm import TransitionNotAllowed

from tests.execution.jobs import chain, publish, submit
from workflows.models import CLAIMABLE, FINISHED, History, Job, JobStatus
from workflows.models.statements import Checkpoint, checkpoint, postgresql

CONTRACT = {
    "NEW": {"READY", "PEND", "DONE", "FAIL", "CANC"},
    "READY": {"PEND", "DONE", "FAIL", "CANC"},
    "PEND": {"READY", "FAIL", "CANC"},
    "DONE": set(),
    "FAIL": {"READY", "CANC"},
    "CANC": set(),
}
"""The table of the public contract, written out by hand: the one thing the code is compared with."""

PAIRS = [(source, target) for source in CONTRACT for target in CONTRACT if source != target]


def leaves(condition):
    """Every (lookup, value) of a Q, however deep."""
    for child in condition.children:
        if hasattr(child, "children"):
            yield from leaves(child)
        else:
            yield child


def test_the_transitions_are_those_of_the_contract():
    assert Job.edges() == {(source, target) for source, targets in CONTRACT.items() for target in targets}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_move_is_made_by_its_edge_or_refused(source, target):
    job = Job(status=source)
    if target in CONTRACT[source]:
        job.move_to(target)
        assert job.status == target
    elif target == "NEW":
        with pytest.raises(KeyError):
            job.move_to(target)
    else:
        with pytest.raises(TransitionNotAllowed):
            job.move_to(target)


def test_no_code_can_set_the_status_itself():
    with pytest.raises(AttributeError):
        Job().status = "DONE"


@pytest.mark.django_db
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_database_keeps_no_move_that_the_contract_does_not_have(source, target):
    job = submit(publish(chain("any", "nothing")))
    row = History(job=job, sequence=2, event="moved", from_status=source, to_status=target)
    if target in CONTRACT[source]:
        row.save()
        assert History.objects.filter(job=job).count() == 2
    else:
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"status": "RUN"}, "job_status_known"),
        ({"status": "DONE"}, "job_finished_at_when_finished"),
        ({"finished_at": timezone.now()}, "job_finished_at_when_finished"),
        ({"claimed_by": "worker"}, "job_lease_whole_and_claimable"),
        ({"claimed_until": timezone.now()}, "job_lease_whole_and_claimable"),
        ({"status": "PEND", "claimed_by": "w", "claimed_until": timezone.now()}, "job_lease_whole_and_claimable"),
        ({"wake_at": timezone.now()}, "job_wake_only_parked"),
        ({"priority": 101}, "job_priority_0_to_100"),
    ],
)
def test_the_database_refuses_a_job_that_could_not_be(fields, constraint):
    job = submit(publish(chain("any", "nothing")))
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**fields)


def test_the_claim_and_the_constraints_name_the_same_states():
    [claimable] = re.findall(r"status IN \(([^)]*)\)", postgresql.CLAIM)
    assert {word.strip(" '") for word in claimable.split(",")} == set(CLAIMABLE)
    assert {status for status in JobStatus.values if not CONTRACT[status]} == set(FINISHED)
    [lease] = [c for c in Job._meta.constraints if c.name == "job_lease_whole_and_claimable"]
    [(_, statuses)] = [leaf for leaf in leaves(lease.condition) if leaf[0] == "status__in"]
    assert set(statuses) == set(CLAIMABLE)


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", ["fence", "signals", "from_status", "owner"])
def test_a_checkpoint_behind_any_other_guard_writes_nothing(wrong):
    job = submit(publish(chain("any", "nothing")))
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(
        claimed_by="worker-a", claimed_until=now + timedelta(seconds=30), fence=3, signals=2
    )
    step = Checkpoint(
        job_id=job.pk,
        fence=2 if wrong == "fence" else 3,
        signals=1 if wrong == "signals" else 2,
        from_status="READY" if wrong == "from_status" else "NEW",
        to_status="DONE",
        release=True,
        at=now,
        state={},
    )
    assert checkpoint("worker-b" if wrong == "owner" else "worker-a", [step]) == set()
    job.refresh_from_db()
    assert (job.status, job.claimed_by) == ("NEW", "worker-a")


@pytest.mark.django_db
def test_a_refresh_that_fails_leaves_the_status_protected():
    job = submit(publish(chain("any", "nothing")))
    gone = Job.objects.get(pk=job.pk)
    gone.pk = "00000000-0000-7000-8000-000000000000"
    with pytest.raises(Job.DoesNotExist):
        gone.refresh_from_db()
    with pytest.raises(AttributeError):
        gone.status = "DONE"
    assert gone.status == "NEW"


@pytest.mark.django_db
def test_history_and_definitions_are_never_changed():
    definition = publish(chain("any", "nothing"))
    job = submit(definition)
    row = History.objects.get(job=job)
    for change in (
        row.save,
        row.delete,
        lambda: History.objects.update(event="x"),
        lambda: History.objects.all().delete(),
        definition.save,
        definition.delete,
        lambda: type(definition).objects.update(title="x"),
    ):
        with pytest.raises(TypeError):
            change()
