"""A history decided again leads to the state that is kept, byte for byte, whatever happened to the job."""

from __future__ import annotations

import contextlib
import os
import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.execution.jobs import chain, publish, register, submit
from workflows import operations
from workflows.engine.events import Responded
from workflows.engine.jsonvalue import canonical
from workflows.engine.state import JobState
from workflows.engine.validation import validate
from workflows.execution.children import settle
from workflows.execution.respond import signal_job
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.models import FINISHED, ChildGroup, Definition, History, Job, JobData, TaskRun
from workflows.operations.exceptions import WrongState
from workflows.operations.migrate import migrate_job
from workflows.operations.replay import replay_job

EXAMPLES = int(os.environ.get("REPLAY_EXAMPLES", "12"))
PLUGINS = {"echo": "Echo", "raises": "Raises", "parks": "Parks", "once": "FailsByName"}
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text("aß\n"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(autouse=True)
def _doubles(settings: Any, db: None) -> None:
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    for job_type, class_name in PLUGINS.items():
        register(job_type, class_name, **({"times": 1} if job_type == "once" else {}))


def respond(job: Job, task: str, outcome: str, output: Any) -> None:
    waiting = {item.task: item for item in state_of(job).waiting}
    event = Responded(task, waiting[task].iteration, outcome, output, "ann")
    with transaction.atomic():
        signal_job(job.pk, event, history_event="response.received", task=task)


def state_of(job: Job) -> JobState:
    data = JobData.objects.get(job=job)
    return JobState.new(data.input) if data.state is None else JobState.from_json(data.state, data.input)


def assert_replays(job: Job) -> None:
    result = replay_job(job.pk)
    assert result.equal, result


def test_a_job_that_nothing_happened_to_replays() -> None:
    assert_replays(submit(publish(chain("one", "echo"))))


def test_a_replay_takes_the_outputs_from_the_runs_that_hold_them() -> None:
    job = submit(publish(chain("three", "echo", "echo", "echo")), {"n": 1.5})
    drain()
    decided = [entry for row in History.objects.filter(job=job) for entry in row.decided or ()]
    assert [entry["event"] for entry in decided] == ["JobStarted", *["TaskCompleted"] * 3]
    assert all(entry["in_run"] == "output" and "output" not in entry for entry in decided[1:])
    assert replay_job(job.pk).events == 4
    assert_replays(job)


def test_a_state_that_was_changed_by_other_hands_is_told_with_its_place() -> None:
    job = submit(publish(chain("one", "echo")))
    drain()
    data = JobData.objects.get(job=job)
    data.state["tasks"]["step1"]["output"]["attempt"] = 7
    data.save()
    difference = replay_job(job.pk).differences
    assert [(d.pointer, d.stored, d.replayed) for d in difference] == [("/tasks/step1/output/attempt", 7, 1)]


def test_a_lost_run_and_a_history_from_before_are_told_not_raised() -> None:
    lost = submit(publish(chain("one", "echo")))
    drain()
    TaskRun.objects.filter(job=lost).delete()
    assert "gap" in replay_job(lost.pk).error
    old, half = (submit(publish(chain("two", "echo", "echo"))) for _ in range(2))
    drain()
    for rows in (History.objects.filter(job=old), History.objects.filter(job=half, event="job.started")):
        super(type(rows), rows).update(decided=None)
    assert "before histories could be replayed" in replay_job(old.pk).error
    assert "before histories could be replayed" in replay_job(half.pk).error


def test_a_job_whose_definition_is_not_there_replays_to_where_it_was() -> None:
    job = Job.objects.create(workflow="gone", version=3, history_count=1)
    JobData.objects.create(job=job, input={})
    History.objects.create(job=job, sequence=1, event="job.submitted", to_status="NEW")
    drain()
    job.refresh_from_db()
    assert job.status == "FAIL"
    assert_replays(job)


def test_the_command_counts_tells_differences_and_says_so_by_its_exit_code() -> None:
    jobs = [submit(publish(chain("one", "echo"))) for _ in range(3)]
    drain()
    out = StringIO()
    call_command("replay", "--all", "--workflow", "one", "--limit", "2", stdout=out)
    assert "2 replayed, 2 equal, 0 not." in out.getvalue()
    data = JobData.objects.get(job=jobs[0])
    data.state["priority"] = 3
    data.save()
    with pytest.raises(SystemExit):
        call_command("replay", str(jobs[0].pk), stdout=out)
    assert "/priority: kept 3, replayed 50" in out.getvalue()
    for wrong in ([], ["--all", str(jobs[0].pk)], [str(uuid.uuid4())]):
        with pytest.raises(CommandError):
            call_command("replay", *wrong, stdout=out)


# ---- whatever happens -----------------------------------------------------------------------------------------------


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Small documents of every kind of task that ends without another server."""
    tasks: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 6))):
        task: dict[str, Any] = {
            **{"echo": {"type": "plugin", "plugin": "echo"}, "parks": {"type": "plugin", "plugin": "parks"}},
            "raises": {"type": "plugin", "plugin": "raises", "retry": [{"interval": "PT0.001S", "max_attempts": 2}]},
            "once": {"type": "plugin", "plugin": "once", "retry": [{"interval": "PT0.001S"}]},
            "external": {"type": "external", "queue": "q", "timeout": draw(st.sampled_from(["PT1H", "PT0.005S"]))},
            "wait": {"type": "wait", "for": "PT0.002S"},
            "pass": {"type": "pass", "input": {"n": draw(st.integers(0, 3)), "half": 0.5}},
            "emit": {"type": "emit", "event": "e", "data": "${input}"},
        }[draw(st.sampled_from(["echo", "parks", "raises", "once", "external", "wait", "pass", "emit"]))]
        if task["type"] == "plugin" and draw(st.booleans()):
            task["compensate"] = draw(st.sampled_from(["echo", "raises"]))
        tasks[f"t{index}"] = {**task, "join": draw(st.sampled_from(["all", "any"]))}
    edges: list[dict[str, Any]] = []
    for target in range(1, len(tasks)):
        for source in sorted(draw(st.sets(st.integers(0, target - 1), max_size=2))):
            extra = draw(st.sampled_from([{}, {}, {"when": "outcome == 'yes'"}, {"on_error": ["*"]}]))
            edges.append({"from": f"t{source}", "to": f"t{target}", **extra})
    if draw(st.booleans()):
        source = draw(st.integers(0, len(tasks) - 1))
        back = {"from": f"t{source}", "to": f"t{draw(st.integers(0, source))}", "when": "outcome == 'no'"}
        edges.append({**back, "loop": {"max_iterations": draw(st.integers(1, 2))}})
    found = {"name": "random", "tasks": tasks, "transitions": edges}
    if draw(st.booleans()):
        found["on_failure"] = "compensate"
    return found if not validate(found) else {**found, "transitions": []}


def move(job: Job, draw: st.DrawFn) -> None:
    """One thing that may happen to the job now."""
    state = state_of(job)
    moves: list[Any] = [lambda: Timers().run_once()]
    for item in state.waiting:
        if item.kind in ("external", "plugin"):
            outcome, output = draw(st.sampled_from(["yes", "no"])), draw(ANSWERS)
            moves += [lambda t=item.task, o=outcome, v=output: respond(job, t, o, v)] * 3
        if not job.claimed_by and draw(st.booleans()):
            moves.append(lambda t=item.task: operations.skip_task(job.pk, t, actor="ann", output=[1]))
    if job.status == "FAIL":
        moves += [lambda: operations.retry_job(job.pk, actor="ann")] * 2
        for name, task in state.tasks.items():
            if task.dead_letter:
                moves.append(lambda t=name: operations.retry_job(job.pk, actor="ann", task=t, input={"new": 1}))
                moves.append(lambda t=name: operations.skip_task(job.pk, t, actor="ann", output={"by": "hand"}))
    reached = [name for name in state.tasks if not name.startswith("undo:")]
    if reached:
        again = draw(st.sampled_from(reached))
        moves.append(lambda: operations.restart_job(job.pk, again, actor="ann"))
    moves += [lambda: move_on(job)] * 2
    if draw(st.integers(0, 9)) == 0:
        undo = draw(st.booleans())
        moves = [lambda: operations.cancel_job(job.pk, actor="ann", reason="enough", compensate=undo)]
    with contextlib.suppress(WrongState):
        draw(st.sampled_from(moves))()


def move_on(job: Job) -> None:
    """Move the job to a version in which every task has another name, and the transitions another order."""
    old = Definition.objects.get(name=job.workflow, version=Job.objects.values_list("version").get(pk=job.pk)[0])
    names = {name: f"{name}x" if len(name) < 4 else name[:2] for name in old.document["tasks"]}
    document = {
        **old.document,
        "tasks": {names[name]: task for name, task in old.document["tasks"].items()},
        "transitions": [
            {**edge, "from": names[edge["from"]], "to": names[edge["to"]]} for edge in old.document["transitions"][::-1]
        ],
    }
    migrate_job(job.pk, publish(document).version, mapping=names, actor="ann", reason="new names")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_happens_to_a_job_its_history_leads_to_its_state(data: st.DataObject) -> None:
    job = submit(publish(data.draw(documents())), data.draw(ANSWERS))
    for _ in range(8):
        if data.draw(st.integers(0, 3)):
            drain()
        job.refresh_from_db()
        if job.status in FINISHED:
            break
        move(job, data.draw)
        assert_replays(job)
    drain()
    assert_replays(job)
    kept = JobData.objects.get(job=job)
    assert canonical(JobState.from_json(kept.state, kept.input).to_json()) == canonical(kept.state)


def test_the_parts_that_a_job_is_run_in_replay_too_with_the_names_of_their_parent() -> None:
    inner = {"type": "plugin", "plugin": "echo", "input": {"item": "${item}", "of": "${tasks.first.output.n}"}}
    child = publish({"name": "child", "tasks": {"a": {"type": "plugin", "plugin": "echo"}}})
    tasks = {
        "first": {"type": "pass", "input": {"n": 7}},
        "each": {"type": "map", "items": "${input}", "task": inner},
        "whole": {"type": "workflow", "workflow": child.name, "input": {"from": "${tasks.each.output}"}},
    }
    job = submit(
        publish({"name": "parent", "tasks": tasks, "transitions": [
            {"from": "first", "to": "each"}, {"from": "each", "to": "whole"}
        ]}),
        [1, 2, 3],
    )  # fmt: skip
    for _ in range(6):
        drain()
        settle(ChildGroup.objects.values_list("pk", flat=True))
    job.refresh_from_db()
    assert job.status == "DONE"
    parts = Job.objects.filter(parent=job)
    assert sorted(parts.values_list("fragment", "status")) == [("", "DONE"), *[("each", "DONE")] * 3]
    for one in (job, *parts):
        assert_replays(one)
