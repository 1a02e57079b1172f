"""`manage.py repair` and `manage.py dead_letters`."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from tests.execution.jobs import chain, publish, register, submit
from tests.factories import UserFactory
from workflows.execution.worker import drain
from workflows.models import BulkRepair, DeadLetter, History, Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def jobs(settings: Any) -> list[Job]:
    """Three jobs that failed, and an operator."""
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    UserFactory(username="olga").groups.add(Group.objects.get(name="operators"))
    register("echo", "Echo")
    register("refuses", "AnswersFailed")
    definition = publish(chain("refused", "echo", "refuses"))
    found = [submit(definition, {"n": number}) for number in range(3)]
    drain()
    return found


def run(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def statuses() -> set[str]:
    return set(Job.objects.values_list("status", flat=True))


def test_the_causes_and_their_jobs_are_printed(jobs: list[Job]) -> None:
    cause = DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get()
    assert run("dead_letters").split() == ["3", cause[:12], "Refused", "in", "refuses:", "not", "today"]
    lines = run("dead_letters", cause[:12]).splitlines()
    assert [line.split()[0] for line in lines] == [str(job.pk) for job in reversed(jobs)]
    assert lines[0].endswith("step2: not today")
    with pytest.raises(CommandError, match="no cause"):
        run("dead_letters", "zzz")


def test_a_repair_shows_what_it_would_touch_and_asks(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "no")
    said = run("repair", "--verb", "skip", "--filter", "error=Refused", "--user", "olga")
    assert "skip: 3 jobs, of which 0 would refuse it." in said
    assert "3 FAIL  refused v1" in said
    assert "3 Refused at step2" in said
    assert "Nothing was repaired." in said
    assert statuses() == {"FAIL"}
    assert BulkRepair.objects.get().status == "stopped"


def test_a_cause_is_repaired_and_its_end_is_told(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    cause = DeadLetter.objects.values_list("fingerprint", flat=True).distinct().get()
    choice = ("--filter", f"fingerprint={cause[:12]}", "--set", 'output={"by": "hand"}', "--reason", "by phone")
    said = run("repair", "--verb", "skip", *choice, "--user", "olga")
    assert said.splitlines()[-1] == "3 repaired, 0 refused, 0 to come: done"
    drain()
    assert statuses() == {"DONE"}
    row = History.objects.get(job=jobs[0], event="task.skipped")
    assert (row.actor, row.data["reason"]) == ("olga", "by phone")
    assert run("dead_letters") == "No job waits for a person.\n"


def test_one_job_is_repaired_by_its_id_and_a_refusal_is_told(jobs: list[Job]) -> None:
    said = run("repair", "--verb", "cancel", "--job", str(jobs[0].pk), "--user", "olga", "--yes")
    assert "1 repaired, 0 refused, 0 to come: done" in said
    said = run("repair", "--verb", "cancel", "--job", str(jobs[0].pk), "--user", "olga", "--yes")
    assert "of which 1 would refuse it" in said
    assert f"refused {jobs[0].pk}: A job that has ended cannot be cancelled." in said


def test_the_rest_is_left_to_the_workers_where_that_is_wanted(jobs: list[Job]) -> None:
    choice = ("--filter", "status=FAIL,PEND", "--filter", "version=1", "--user", "olga", "--yes", "--no-wait")
    assert "The workers repair them" in run("repair", "--verb", "cancel", *choice)
    assert BulkRepair.objects.get().status == "running"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--filter", "error=Refused", "--user", "nobody"), "no user who may repair jobs"),
        (("--filter", "colour=red", "--user", "olga"), "/filter/colour"),
        (("--filter", "error", "--user", "olga"), "NAME=VALUE"),
        (("--user", "olga"), "/filter: A repair of many needs a filter"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(jobs: list[Job], arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run("repair", "--verb", "cancel", *arguments)
    assert statuses() == {"FAIL"}
