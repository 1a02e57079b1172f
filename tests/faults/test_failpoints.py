"""Every failpoint, with every fault: the work goes on without a hand, nothing is lost, and nothing is done twice."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.core.checks.registry import registry
from django.db import OperationalError

from departments.models import DepartmentResponse, WorkItem
from tests.faults.doomed import Fault, Report, Scene
from tests.faults.lab import Lab, assert_verified, opened, rows_of, wait_until_stopped
from tests.faults.ledger import calls
from workflows.checks import no_failpoints
from workflows.execution import worker
from workflows.models import Document, Event, History, Job, Message, TaskRun, failpoints
from workflows.models.statements import claim, extend

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

KINDS = [
    pytest.param("kill", id="killed"),
    pytest.param("raise", id="an exception"),
    pytest.param("cut", id="connection cut", marks=pytest.mark.postgresql),
    pytest.param("lose", id="reply lost", marks=pytest.mark.postgresql),
]
"""SIGKILL; an exception; the connection is cut, so that nothing that is open is committed; the commit is done, and its
reply is lost. SQLite has no connection."""


@pytest.fixture(scope="module")
def lab(
    django_db_setup: None, django_db_blocker: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    with django_db_blocker.unblock(), opened(tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture
def _django_db_helper(lab: Lab) -> None:
    """Instead of pytest-django's: the cases share a database, for emptying it takes longer than most of them."""


@pytest.fixture(autouse=True)
def _as_in_the_lab(lab: Lab, settings) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.faults"]
    settings.MEDIA_ROOT = lab.documents


@dataclass(frozen=True)
class Case:
    """What is going on when the failpoint is reached.

    `loses` is the failpoint after which the first commit's reply is lost, where that is another one: a commit that
    stands already cannot lose its reply.
    """

    plays: Callable[[Lab, Path, Fault], None]
    loses: str = ""


# ---- what must hold of jobs ----------------------------------------------------------------------------------------


def assert_ended(job: Job, ledger: Path, tasks: list[str], *, status: str = "DONE", at_most: int = 2) -> None:
    """The job ended by itself, every step of it once, and each call outside at most so often."""
    job = Job.objects.get(pk=job.pk)
    assert job.status == status
    assert job.claimed_by is None
    told = list(History.objects.filter(job=job).order_by("sequence").values_list("sequence", flat=True))
    assert told == list(range(1, job.history_count + 1)), "the history has a gap"
    done = TaskRun.objects.filter(job=job, status="done", task__in=tasks).values_list("task", "iteration")
    assert Counter(done) == Counter((task, 1) for task in tasks)
    made = Counter(key for key in calls(ledger) if key.startswith(str(job.pk)))
    assert set(made) == {f"{job.pk}:{task}:1" for task in tasks}
    assert max(made.values()) <= at_most, f"a call was repeated without need: {made}"
    assert sum(made.values()) <= len(tasks) + 1, "one crash repeats one call"


REPEATS = {"effect.returned", "ckpt.before_commit", "audit.appended", "attach.blob_written"}
"""Where a step has had its effect, and is not committed: it is repeated, with its key, where it never is."""


def repeats(fault: Fault) -> int:
    """How often one call may be made at most."""
    if fault.kind == "lose":
        return 1  # its commit stands, though nobody was told
    if fault.kind == "cut":
        return 2  # every session is cut, and a worker finds out when it commits its next step
    return 2 if fault.point in REPEATS or fault == Fault("kill", "hb.sent") else 1


# ---- what is going on ----------------------------------------------------------------------------------------------


def plays_steps(workflow: str, tasks: list[str], jobs: int = 1) -> Callable[[Lab, Path, Fault], None]:
    def play(lab: Lab, ledger: Path, fault: Fault) -> None:
        made = [lab.submit(workflow, ledger) for _ in range(jobs)]
        beat = 0.0 if workflow == "long" else 10.0
        assert lab.fail(Scene([str(job.pk) for job in made], heartbeat_seconds=beat), fault)
        for job in made:
            # Several jobs that share a commit share its fate, too.
            assert_ended(job, ledger, tasks, at_most=repeats(fault) if jobs == 1 else 2)

    return play


STEPS = ["one", "two", "three"]


def alone(loses: str = "") -> Case:
    return Case(plays_steps("alone", STEPS), loses)


def shared(loses: str = "") -> Case:
    return Case(plays_steps("shared", STEPS, jobs=3), loses)


def plays_undoing(lab: Lab, ledger: Path, fault: Fault) -> None:
    job = lab.submit("undoing", ledger)
    lab.fail(Scene([str(job.pk)]), fault)
    job.refresh_from_db()
    assert job.status == "CANC"
    made = Counter(calls(ledger))
    tasks = ["one", "two", "last"]
    assert {key.split(":")[1] for key in made} >= set(tasks)
    undone = TaskRun.objects.filter(job=job, status="done").exclude(task__in=tasks)
    assert undone.count() == 2, "each step is undone once"
    assert len(made) == 5
    assert max(made.values()) <= repeats(fault)


def plays_letters(lab: Lab, ledger: Path, fault: Fault) -> None:
    job = lab.submit("letters", ledger)
    lab.fail(Scene([str(job.pk)]), fault)
    assert_ended(job, ledger, ["one", "two"], at_most=repeats(fault))
    document = Document.objects.get(job=job)
    assert_kept(document, b"Dear reader")


def plays_upload(lab: Lab, ledger: Path, fault: Fault) -> None:
    """A client uploads a document, and submits a job with it."""
    submission = {"workflow": "alone", "input": {"ledger": str(ledger)}, "key": ledger.name}
    lab.fail(Scene(token=lab.token, uploads="Dear desk", submits=submission), fault)
    job = Job.objects.get(data__input__ledger=str(ledger))
    assert_ended(job, ledger, STEPS, at_most=repeats(fault))
    assert_kept(Document.objects.get(job=job), b"Dear desk")
    for left in Document.objects.filter(job__isnull=True):  # its client was not told, and sent another one
        assert_kept(left, b"Dear desk")


def assert_kept(document: Document, content: bytes) -> None:
    """There is no row without its file."""
    assert document.sha256 == hashlib.sha256(content).hexdigest()
    with document.content.open("rb") as file:
        assert file.read() == content


def plays_asking(lab: Lab, ledger: Path, fault: Fault) -> None:
    """A step, then a question to a department; a member answers it."""
    job = lab.submit("asking", ledger)
    lab.fail(Scene([str(job.pk)], token=lab.token, decides=True), fault)
    assert_ended(job, ledger, ["one", "two"], at_most=repeats(fault))
    assert WorkItem.objects.get(job=job).status == "done", "one question was asked"
    assert DepartmentResponse.objects.filter(job=job).count() == 1
    assert History.objects.filter(job=job, event="item.decided").count() == 1


def plays_telling(lab: Lab, ledger: Path, fault: Fault) -> None:
    """One job tells another something."""
    listener = lab.submit("listening", ledger, reference=ledger.name)
    teller = lab.submit("telling", ledger, reference=ledger.name)
    lab.fail(Scene([str(listener.pk), str(teller.pk)], services=["relay"]), fault)
    assert_ended(teller, ledger, ["one"], at_most=repeats(fault))
    assert_ended(listener, ledger, ["two"], at_most=repeats(fault))
    message = Message.objects.get(job=teller, type="paid")
    assert Event.objects.filter(event_id=str(message.pk)).count() == 1, "it was sent once"
    assert History.objects.filter(job=listener, event="event.received").count() == 1


def plays_event(lab: Lab, ledger: Path, fault: Fault) -> None:
    """A client sends an event, and again where it was not told that it is kept."""
    job = lab.submit("listening", ledger, reference=ledger.name)
    event = {"specversion": "1.0", "id": ledger.name, "source": "/bank", "type": "paid", "subject": ledger.name}
    lab.fail(Scene([str(job.pk)], token=lab.token, sends={**event, "data": {"amount": 7}}), fault)
    assert_ended(job, ledger, ["two"], at_most=repeats(fault))
    assert Event.objects.filter(event_id=ledger.name).count() == 1
    assert History.objects.filter(job=job, event="event.received").count() == 1


def plays_submission(lab: Lab, ledger: Path, fault: Fault) -> None:
    """A client submits, and again, with the same key, where it was not told that it is done."""
    submission = {"workflow": "alone", "input": {"ledger": str(ledger)}, "key": ledger.name}
    report = lab.fail(Scene(token=lab.token, submits=submission), fault)
    assert_ended(Job.objects.get(data__input__ledger=str(ledger)), ledger, STEPS, at_most=repeats(fault))
    assert_told(report, fault)


def assert_told(report: Report, fault: Fault) -> None:
    told = [status for path, status in report.answers if path == "jobs/"]
    # Nothing is asked of the database once the job is committed: a connection that is cut then is not missed.
    assert told == {"kill": [200], "raise": [500, 200], "cut": [201], "lose": [503, 200]}[fault.kind]


def plays_rescue(lab: Lab, ledger: Path, fault: Fault) -> None:
    """The worker of a job is gone, and its rescuer fails."""
    job = lab.submit("alone", ledger)
    assert [found.id for found in claim("default", "somebody who is gone", 10, 0)] == [job.pk]
    lab.fail(Scene([str(job.pk)], services=["rescuer"]), fault)
    assert_ended(job, ledger, STEPS, at_most=repeats(fault))
    assert History.objects.filter(job=job, event="lease.expired").count() == 1


CASES = {
    "claim.committed": alone(loses="start"),
    "step.before_effect": alone(),
    "effect.returned": alone(),
    "ckpt.before_commit": alone(),
    "ckpt.after_commit": alone(loses="ckpt.before_commit"),
    "audit.appended": Case(plays_asking),
    "attach.blob_written": Case(plays_letters),
    "hb.sent": Case(plays_steps("long", ["one", "two"]), loses="step.before_effect"),
    "comp.before": Case(plays_undoing),
    "park.after_commit": Case(plays_asking, loses="ckpt.before_commit"),
    "resume.before_commit": Case(plays_asking),
    "outbox.sent": Case(plays_telling),
    "outbox.marked": Case(plays_telling),
    "inbox.recorded": Case(plays_event),
    "submit.committed_before_reply": Case(plays_submission, loses="start"),
    "reap.selected": Case(plays_rescue),
}

MORE = {
    "claim.committed, several jobs": ("claim.committed", shared(loses="start")),
    "ckpt.before_commit, several jobs": ("ckpt.before_commit", shared()),
    "ckpt.after_commit, several jobs": ("ckpt.after_commit", shared(loses="ckpt.before_commit")),
    "ckpt.after_commit, with a document": ("ckpt.after_commit", Case(plays_letters, loses="ckpt.before_commit")),
    "attach.blob_written, uploaded": ("attach.blob_written", Case(plays_upload)),
}
"""The same failpoint in another place: several jobs in one commit; a step's document; one that a client sends."""


def _play(lab: Lab, point: str, kind: str, case: Case) -> None:
    with lab.case() as ledger:
        case.plays(lab, ledger, Fault(kind, case.loses or point if kind == "lose" else point))
        assert_verified()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", CASES)
def test_whatever_fails_at_a_failpoint_the_work_ends_right_without_a_hand(lab, point, kind):
    _play(lab, point, kind, CASES[point])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MORE)
def test_the_same_holds_elsewhere(lab, name, kind):
    point, case = MORE[name]
    _play(lab, point, kind, case)


@pytest.mark.parametrize(
    ("workflow", "point"),
    [("alone", "step.before_effect"), ("alone", "effect.returned"), ("answered", "effect.returned")],
    ids=["before the effect", "between the effect and the commit", "before the commit that parks"],
)
def test_a_worker_stopped_beyond_its_lease_and_woken_writes_nothing(lab, workflow, point):
    with lab.case() as ledger:
        job = lab.submit(workflow, ledger)
        scene = Scene([str(job.pk)], token=lab.token, responds=workflow == "answered")
        with lab.child("fail", scene, Fault("stop", point)) as (sleeper, answers):
            wait_until_stopped(sleeper)
            lab.go_on(scene)
            tasks = ["one", "two"] if workflow == "answered" else STEPS
            assert_ended(job, ledger, tasks)
            before = rows_of(job)
            os.kill(sleeper.pid, signal.SIGCONT)
            woken = lab.report_of(sleeper, answers)
        assert woken is not None
        assert [line for line in woken.logged if "lease" in line and str(job.pk) in line], woken
        assert rows_of(job) == before, "it wrote something"
        assert_ended(job, ledger, tasks)
        assert_verified()


def test_a_worker_that_lost_the_database_does_not_keep_the_leases_of_what_it_let_go(lab, monkeypatch):
    with lab.case() as ledger:
        lab.submit("alone", ledger)
        found = worker.JobWorker("default", alone=True)
        assert len(found.claim()) == 1
        assert extend(found.heartbeat.owner, 30) == 1
        monkeypatch.setattr(found, "claim", raising(OperationalError("the server is gone")))
        monkeypatch.setattr(found.heartbeat, "is_alive", lambda: True)
        monkeypatch.setattr(worker, "BREATHER_SECONDS", 0.0)
        found.tick(0.0)
        assert extend(found.heartbeat.owner, 30) == 0, "whatever it claims next, these leases pass"
        monkeypatch.setattr(found, "claim", raising(ValueError("a fault of the engine")))
        before = found.heartbeat.owner
        with pytest.raises(ValueError, match="a fault of the engine"):
            found.tick(0.0)
        assert found.heartbeat.owner == found.name != before
        Job.objects.update(claimed_by=None, claimed_until=None)


def raising(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_every_failpoint_has_its_cases():
    assert set(CASES) == set(failpoints.POINTS)


def test_every_failpoint_stands_where_its_name_is_called():
    found = Counter[str]()
    for path in Path(settings.BASE_DIR, "workflows").rglob("*.py"):
        text = path.read_text()
        found.update({name: text.count(f'"{name}"') for name in failpoints.POINTS if path.name != "failpoints.py"})
    assert {name for name in failpoints.POINTS if not found[name]} == set()


def test_the_setting_is_refused_where_the_server_is_deployed(settings):
    assert no_failpoints in registry.deployment_checks
    assert no_failpoints(None) == []
    settings.WORKFLOW_FAILPOINTS = True
    assert [fault.id for fault in no_failpoints(None)] == ["workflows.E005"]
    settings.DEBUG = True
    assert no_failpoints(None) == []


def test_without_the_setting_a_failpoint_can_do_nothing():
    assert failpoints.PRESENT is False
    with pytest.raises(failpoints.FailpointsAbsent):
        failpoints.arm("claim.committed", lambda: None)
    failpoints._armed["claim.committed"] = pytest.fail  # as nobody can
    try:
        failpoints.failpoint("claim.committed")
        failpoints.failpoint_after_commit("claim.committed")
    finally:
        failpoints._armed.clear()
