"""`manage.py suspend` and `resume`: the same as over REST, for scripts and by hand."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.execution.jobs import chain, publish, submit
from workflows.models import History, Job, Suspension, uuid7

pytestmark = pytest.mark.django_db


def told(*arguments):
    out = StringIO()
    call_command(*arguments, "--actor", "olga", stdout=out)
    return out.getvalue()


def test_a_workflow_is_suspended_seen_as_drained_and_resumed():
    publish(chain("claims", "echo"))
    said = told("suspend", "claims", "--reason", "stocktaking", "--wait")
    assert said == "Claims is suspended.\nDrained: no worker holds a job of it.\n"
    assert "already" in told("suspend", "claims", "--wait"), "who waits for another's drain has what they want"
    assert told("resume", "claims") == "Claims is resumed; 0 held jobs go on.\n"
    row = Suspension.objects.get()
    assert (row.suspended_by, row.reason, row.resumed_by) == ("olga", "stocktaking", "olga")


def test_one_job_is_suspended_and_resumed():
    job = submit(publish(chain("claims", "echo")))
    told("suspend", "--job", str(job.pk), "--reason", "wait")
    assert Job.objects.get(pk=job.pk).hold == "suspended"
    told("resume", "--job", str(job.pk))
    actors = History.objects.filter(job=job, event__startswith="job.").values_list("event", "actor")
    assert list(actors)[1:] == [("job.suspended", "olga"), ("job.resumed", "olga")]


def test_a_drain_that_does_not_end_is_told_and_fails(settings):
    job = submit(publish(chain("claims", "echo")))
    Job.objects.filter(pk=job.pk).update(claimed_by="w", claimed_until="2099-01-01T00:00:00Z")
    with pytest.raises(CommandError, match="still hold 1 of its jobs"):
        told("suspend", "--all", "--wait", "--timeout", "0")


@pytest.mark.parametrize("command", ["suspend", "resume"])
@pytest.mark.parametrize("arguments", [(), ("claims", "--all"), ("nowhere",), ("--job", str(uuid7()))])
def test_what_makes_no_sense_is_refused(command, arguments):
    with pytest.raises(CommandError):
        told(command, *arguments)
    assert not Suspension.objects.exists()
