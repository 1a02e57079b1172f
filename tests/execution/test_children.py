"""Child jobs: maps, child workflows and tasks on other queues, made, ended, cancelled and taken over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.execution.jobs import publish, register, submit
from tests.execution.plugin_doubles import Remembers
from workflows.execution import executor, settling
from workflows.execution.children import progress_of
from workflows.execution.exceptions import DefinitionNotFound
from workflows.execution.settling import Settler, settle_groups
from workflows.execution.timers import Timers
from workflows.execution.worker import JobWorker, drain
from workflows.models import ChildGroup, Definition, History, Job, JobData, Retirement, TaskRun
from workflows.models.statements import claim
from workflows.operations import cancel_job, retry_job, skip_task
from workflows.operations.replay import replay_job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allow_doubles(settings):
    settings.WORKFLOW_PLUGIN_PACKAGES = ["tests.execution"]
    Remembers.seen.clear()


def one_task(name: str, task: dict[str, Any], **document: Any) -> Definition:
    return publish({"name": name, "tasks": {"m": task}, **document})


def a_map(name: str = "mapped", inner: dict[str, Any] | None = None, **fields: Any) -> Definition:
    inner = inner or {"type": "pass", "input": {"n": "${item}", "at": "${index}"}}
    return one_task(name, {"type": "map", "items": "${input.items}", "task": inner, **fields})


def fresh(job: Job) -> Job:
    return Job.objects.select_related("data").get(pk=job.pk)


def children(job: Job) -> list[Job]:
    return list(Job.objects.filter(parent=job).order_by("group_id", "item_index"))


def assert_settled() -> None:
    """Nothing is left to be done by anybody."""
    assert not ChildGroup.objects.filter(closed_at__isnull=True).exists()
    assert Settler().run_once() == {"settled": 0}
    assert not Job.objects.claimable().exists()


def failing_where(condition: str) -> dict[str, Any]:
    """An inner task that fails for the items of which the condition holds: it names what is not there."""
    return {"type": "pass", "input": "${" + condition + " ? input.nothing : item}"}


# ---- map ------------------------------------------------------------------------------------------------------------


def test_a_map_runs_each_item_as_a_child_job_and_gives_the_results_in_item_order():
    job = submit(a_map(), {"items": ["a", "b", None, {"c": 1}]}, correlation_id="K-1", priority=70)
    drain()
    job = fresh(job)
    assert job.status == "DONE"
    assert job.data.output == [{"n": item, "at": index} for index, item in enumerate(["a", "b", None, {"c": 1}])]
    for index, child in enumerate(children(job)):
        assert (child.item_index, child.fragment, child.status) == (index, "m", "DONE")
        assert (child.correlation_id, child.priority, child.queue) == ("K-1", 70, "default")
        assert child.submitted_by_id == job.submitted_by_id
        born = History.objects.get(job=child, sequence=1)
        assert (born.event, born.data["parent"], born.data["index"]) == ("job.submitted", str(job.pk), index)
    assert_settled()


def test_a_map_over_nothing_is_done_at_once_and_over_no_list_fails_by_name():
    empty = submit(a_map(), {"items": []})
    wrong = submit(a_map(), {"items": {"no": "list"}})
    drain()
    assert fresh(empty).data.output == []
    assert fresh(wrong).data.error["name"] == "ValidationError"
    assert not ChildGroup.objects.exists()


def test_never_more_children_are_unfinished_than_the_map_allows(monkeypatch):
    register("parks", "Parks")
    job = submit(a_map(inner={"type": "plugin", "plugin": "parks"}, max_concurrency=2), {"items": [1, 2, 3, 4, 5]})
    drain()
    most = 0
    while fresh(job).status == "PEND":
        unfinished = Job.objects.filter(parent=job, status="PEND")
        most = max(most, unfinished.count())
        skip_task(unfinished.order_by("-item_index")[0].pk, "m", actor="test", output="done")
        drain()
    assert most == 2
    assert fresh(job).data.output == ["done"] * 5
    assert_settled()


def test_children_are_made_in_portions(monkeypatch):
    monkeypatch.setattr(settling, "PORTION", 3)
    job = submit(a_map(), {"items": list(range(8))})
    drain()
    assert [result["n"] for result in fresh(job).data.output] == list(range(8))


def test_the_names_of_the_parent_are_known_inside_and_stored_once():
    definition = publish(
        {
            "name": "named",
            "tasks": {
                "first": {"type": "pass", "input": {"rate": 3}},
                "m": {
                    "type": "map",
                    "items": [1, 2],
                    "task": {"type": "pass", "input": "${item * tasks.first.output.rate + input.base}"},
                },
            },
            "transitions": [{"from": "first", "to": "m"}],
        }
    )
    job = submit(definition, {"base": 100})
    drain()
    assert fresh(job).data.output == [103, 106]
    child = Job.objects.select_related("data").get(parent=job, item_index=0)
    assert child.data.input == {"item": 1, "index": 0}
    assert "tasks" not in child.data.input
    group = ChildGroup.objects.select_related("data").get(job=job)
    assert group.data.names["tasks"]["first"]["output"] == {"rate": 3}


def test_a_map_of_maps_gives_lists_of_lists():
    inner = {"type": "map", "items": "${item}", "task": {"type": "pass", "input": "${item + index}"}}
    job = submit(a_map(inner=inner), {"items": [[1, 2], [], [10]]})
    drain()
    assert fresh(job).data.output == [[1, 3], [], [10]]
    assert set(Job.objects.exclude(fragment="").values_list("fragment", flat=True)) == {"m", "m/m"}
    assert_settled()


def test_a_tolerated_failure_is_a_null_and_its_job_is_cancelled_in_the_end():
    job = submit(a_map(inner=failing_where("item == 2"), tolerated_failures=1), {"items": [1, 2, 3]})
    drain()
    assert fresh(job).data.output == [1, None, 3]
    assert [child.status for child in children(job)] == ["DONE", "CANC", "DONE"]
    assert_settled()


def test_one_failure_too_many_fails_the_map_with_its_own_error_and_cancels_the_rest():
    definition = one_task(
        "toomany",
        {"type": "map", "items": [1, 2, 3, 4], "tolerated_failures": 1, "task": failing_where("item % 2 == 0")},
    )
    job = submit(definition)
    drain()
    job = fresh(job)
    assert job.status == "FAIL"
    child = Job.objects.get(parent=job, item_index=1)
    assert job.data.error["name"] == "ExpressionError"
    assert job.data.error["cause"].startswith(f"Item 1 (job {child.pk}): ")
    assert {c.status for c in children(job)} == {"DONE", "CANC"}
    assert_settled()


def test_an_error_of_an_item_is_caught_by_the_maps_own_transitions():
    register("fails", "AnswersFailed")
    definition = publish(
        {
            "name": "caught",
            "tasks": {
                "m": {"type": "map", "items": [1, 2], "task": {"type": "plugin", "plugin": "fails"}},
                "sorry": {"type": "pass", "input": {"because": "${tasks.m.error.name}"}},
            },
            "transitions": [{"from": "m", "to": "sorry", "on_error": ["Refused"]}],
        }
    )
    job = submit(definition)
    drain()
    assert fresh(job).data.output == {"because": "Refused"}
    assert_settled()


def test_an_item_that_an_operator_cancels_counts_as_failed():
    register("parks", "Parks")
    job = submit(a_map(inner={"type": "plugin", "plugin": "parks"}), {"items": [1, 2]})
    drain()
    cancel_job(children(job)[1].pk, actor="operator")
    drain()
    job = fresh(job)
    assert job.data.error["name"] == "ChildCancelled"
    assert "Item 1" in job.data.error["cause"]
    assert [child.status for child in children(job)] == ["CANC", "CANC"]
    assert_settled()


def test_a_commit_stands_whatever_becomes_of_the_settling_after_it(monkeypatch):
    def fails(*args: Any) -> None:
        raise RuntimeError("settling is broken")

    monkeypatch.setattr("workflows.execution.settling.settle_groups", fails)
    definition = a_map()
    job, unwanted = (submit(definition, {"items": [1]}) for _ in range(2))
    drain()
    assert (fresh(job).status, fresh(job).claims) == ("PEND", 0)
    assert cancel_job(unwanted.pk, actor="operator").status == "CANC"  # and is not told of a failure
    monkeypatch.undo()
    Settler().run_once()
    drain()
    assert fresh(job).status == "DONE"


def test_items_that_have_not_begun_are_cancelled_all_at_once_and_their_history_says_so():
    job = submit(a_map(), {"items": list(range(1_200))})
    worker = JobWorker("default", alone=True)
    worker.run(claim("default", worker.name, 1, 30), float("inf"))
    assert Job.objects.filter(parent=job, status="NEW").count() == 1_200
    cancel_job(job.pk, actor="operator")
    while Settler().run_once()["settled"]:  # one call stays at a group for two seconds and no longer
        continue
    assert set(Job.objects.filter(parent=job).values_list("status", "claimed_by", "history_count")) == {
        ("CANC", None, 2)
    }
    assert set(
        History.objects.filter(job__parent=job, sequence=2).values_list("event", "from_status", "to_status")
    ) == {("job.cancelled", "NEW", "CANC")}
    assert replay_job(children(job)[0].pk).equal
    assert_settled()


def test_an_operators_retry_of_an_item_counts_while_the_map_still_runs():
    register("fails", "FailsByName", times=1)
    register("parks", "Parks")
    inner = {"type": "plugin", "plugin": "fails"}
    job = submit(a_map(inner=inner, tolerated_failures=2, max_concurrency=1), {"items": [1]})
    waiting = submit(a_map("other", {"type": "plugin", "plugin": "parks"}, tolerated_failures=1), {"items": [1, 2]})
    drain()
    assert fresh(job).data.output == [None]
    first, second = children(waiting)
    cancelled = cancel_job(first.pk, actor="operator")
    assert cancelled.status == "CANC"
    skip_task(second.pk, "m", actor="operator", output=2)
    drain()
    assert fresh(waiting).data.output == [None, 2]
    assert_settled()


def test_a_retried_map_keeps_what_is_finished_and_starts_the_rest_once_the_first_attempt_is_over():
    definition = a_map(inner=failing_where("item == 2"))
    job = submit(definition, {"items": [1, 2, 3]})
    drain()
    assert fresh(job).status == "FAIL"
    kept = {child.pk for child in children(job) if child.status == "DONE"}
    assert len(kept) == 2
    retry_job(job.pk, actor="operator")
    drain()
    assert fresh(job).status == "FAIL", "the same item fails again"
    second = ChildGroup.objects.get(job=job, attempt=2)
    assert {child.pk for child in Job.objects.filter(group=second, status="DONE")} == kept
    assert Job.objects.filter(parent=job).count() == 4, "one new job, for the item that had failed"
    assert TaskRun.objects.filter(job__parent=job, status="done").count() == 2
    assert_settled()


def test_a_new_attempt_begins_when_nothing_of_the_one_before_is_left(monkeypatch):
    job = submit(a_map(inner=failing_where("item == 2")), {"items": [1, 2]})
    with monkeypatch.context() as crash:
        crash.setattr(settling, "_wind_up", lambda group: False)
        drain()
        retry_job(job.pk, actor="operator", task="m", input=[1, 3])
        drain()
        assert not Job.objects.filter(group__attempt=2).exists()
    assert Settler().run_once() == {"settled": 2}
    drain()
    assert fresh(job).data.output == [1, 3]
    assert_settled()


def test_a_retried_map_with_other_items_starts_anew():
    job = submit(a_map(inner=failing_where("item == 2")), {"items": [1, 2]})
    drain()
    retry_job(job.pk, actor="operator", task="m", input=[5, 6, 7])
    drain()
    assert fresh(job).data.output == [5, 6, 7]
    assert_settled()


def test_results_that_are_too_large_together_fail_the_map_by_name(settings):
    settings.WORKFLOW_MAP_MAX_BYTES = 2_000
    inner = {"type": "pass", "input": "${input.text}"}
    job = submit(a_map(inner=inner), {"items": list(range(30)), "text": "x" * 100})
    drain()
    assert fresh(job).data.error["name"] == "ResultTooLarge"
    assert "WORKFLOW_MAP_MAX_BYTES" in fresh(job).data.error["cause"]
    assert_settled()


@pytest.mark.parametrize("how", ["cancel", "skip", "timeout", "loop"])
def test_children_that_nobody_waits_for_any_more_are_cancelled(how):
    register("parks", "Parks")
    task: dict[str, Any] = {"type": "map", "items": [1, 2, 3], "task": {"type": "plugin", "plugin": "parks"}}
    document: dict[str, Any] = {"name": how, "tasks": {"m": task}, "transitions": []}
    if how == "timeout":
        task["timeout"] = "PT1S"
    if how == "loop":
        document["tasks"] |= {
            "first": {"type": "pass"},
            "gate": {"type": "plugin", "plugin": "parks", "join": "any"},
        }
        document["transitions"] = [
            {"from": "first", "to": "m"},
            {"from": "first", "to": "gate"},
            {"from": "gate", "to": "first", "when": "outcome == 'back'", "loop": {}},
        ]
    job = submit(publish(document))
    drain()
    first = ChildGroup.objects.get(job=job)
    if how == "cancel":
        cancel_job(job.pk, actor="operator")
    elif how == "skip":
        skip_task(job.pk, "m", actor="operator", output=[])
    elif how == "loop":
        skip_task(job.pk, "gate", actor="operator", outcome="back")
    else:
        wake = Job.objects.filter(pk=job.pk, wake_at__isnull=False)
        assert wake.exists()
        state = fresh(job).data.state
        state["tasks"]["m"]["timeout_at"] = (timezone.now() - timedelta(seconds=1)).isoformat()
        JobData.objects.filter(job=job).update(state=state)
        wake.update(wake_at=timezone.now() - timedelta(seconds=1))
        Timers().run_once()
    drain()
    first.refresh_from_db()
    assert first.closed_at is not None
    assert {child.status for child in Job.objects.filter(group=first)} == {"CANC"}
    if how == "loop":
        assert Job.objects.filter(group__iteration=2, status="PEND").count() == 3
    else:
        assert fresh(job).status == {"cancel": "CANC", "skip": "DONE", "timeout": "FAIL"}[how]


def test_the_queries_of_settling_do_not_grow_with_the_number_of_children():
    register("parks", "Parks")

    def queries(count: int) -> int:
        job = submit(a_map(f"m{count}", {"type": "plugin", "plugin": "parks"}), {"items": list(range(count))})
        drain()
        group = ChildGroup.objects.get(job=job)
        with CaptureQueriesContext(connection) as found:
            settle_groups([group.pk])
        return len(found)

    assert queries(2) == queries(40) == 1, "while children run there is one question, and no lock"


def test_progress_is_read_in_two_queries():
    job = submit(a_map(inner=failing_where("item == 2"), tolerated_failures=1), {"items": [1, 2, 3]})
    drain()
    with CaptureQueriesContext(connection) as found:
        assert progress_of(job.pk) == {
            ("m", 1, 1): {"group": ChildGroup.objects.get().pk, "total": 3, "done": 2, "failed": 1}
        }
    assert len(found) == 3, "two, and one of the test"


# ---- what a step sees ------------------------------------------------------------------------------------------------


def test_an_item_keeps_its_idempotency_key_when_it_is_started_anew():
    register("remembers", "Remembers")
    inner = {"type": "map", "items": "${item}", "task": {"type": "plugin", "plugin": "remembers"}}
    job = submit(a_map(inner=inner), {"items": [["a"], ["b", "c"]]})
    drain()
    assert {context.idempotency_key for context in Remembers.seen} == {
        f"{job.pk}:m:1:0:0",
        f"{job.pk}:m:1:1:0",
        f"{job.pk}:m:1:1:1",
    }


def test_the_documents_of_items_belong_to_the_case():
    register("letter", "WritesLetter")
    inner = {"type": "plugin", "plugin": "letter", "input": {"name": "${item}"}}
    job = submit(a_map(inner=inner), {"items": ["Ann", "Bob"]})
    drain()
    assert fresh(job).status == "DONE"
    assert job.documents.count() == 2
    assert not Job.objects.filter(parent=job, documents__isnull=False).exists()


# ---- queue ----------------------------------------------------------------------------------------------------------


def test_a_task_on_another_queue_is_a_child_job_there_and_looks_like_the_parents_task():
    register("remembers", "Remembers")
    definition = one_task("elsewhere", {"type": "plugin", "plugin": "remembers", "queue": "gpu", "input": {"a": 1}})
    job = submit(definition)
    drain()
    assert fresh(job).status == "PEND"
    [child] = children(job)
    assert (child.queue, child.status, child.fragment) == ("gpu", "NEW", "m")
    drain("gpu")
    drain()
    assert fresh(job).status == "DONE"
    [context] = Remembers.seen
    assert (context.job_id, context.task, context.iteration, context.attempt) == (str(job.pk), "m", 1, 1)
    assert context.idempotency_key == f"{job.pk}:m:1"
    assert context.input == {"a": 1}
    assert context.fence >= 2, "it is fenced as its parent is"
    assert fresh(job).fence > context.fence
    assert_settled()


def test_the_error_of_a_task_on_another_queue_comes_back_under_its_own_name():
    register("fails", "FailsByName", times=2)
    task = {
        "type": "plugin",
        "plugin": "fails",
        "queue": "gpu",
        "retry": [{"errors": ["ServiceUnavailable"], "interval": "PT0S", "max_attempts": 3}],
    }
    job = submit(one_task("retried", task))
    for _ in range(6):
        drain()
        drain("gpu")
    assert fresh(job).status == "DONE"
    assert fresh(job).data.output == {"attempt": 3}
    runs = TaskRun.objects.filter(job=job).order_by("attempt")
    assert [(run.status, run.error) for run in runs] == [
        ("retrying", "ServiceUnavailable"),
        ("retrying", "ServiceUnavailable"),
        ("done", None),
    ]
    assert_settled()


# ---- workflow -------------------------------------------------------------------------------------------------------


def child_workflow(**document: Any) -> Definition:
    return publish({"name": "child", "tasks": {"c": {"type": "pass", "input": {"got": "${input}"}}}, **document})


def test_a_child_workflow_gives_its_output_and_outcome():
    register("parks", "Parks")
    publish({"name": "child", "tasks": {"c": {"type": "plugin", "plugin": "parks"}}})
    definition = publish(
        {
            "name": "parent",
            "tasks": {
                "call": {"type": "workflow", "workflow": "child", "input": {"a": 1}},
                "yes": {"type": "pass", "input": "${tasks.call.output}"},
                "no": {"type": "fail", "error": "No"},
            },
            "transitions": [
                {"from": "call", "to": "yes", "when": "outcome == 'good'"},
                {"from": "call", "to": "no", "default": True},
            ],
        }
    )
    job = submit(definition)
    drain()
    [child] = children(job)
    assert (child.workflow, child.version, child.fragment) == ("child", 1, "")
    assert list(Job.objects.whole().filter(pk=child.pk)) == [child]
    skip_task(child.pk, "c", actor="operator", output={"b": 2}, outcome="good")
    drain()
    assert fresh(job).data.output == {"b": 2}
    assert_settled()


def test_a_child_workflow_runs_the_newest_version_that_is_not_retired_or_the_named_one():
    child_workflow()
    child_workflow(title="second")
    child_workflow(title="third")
    Retirement.objects.create(name="child", version=3)
    newest = submit(one_task("newest", {"type": "workflow", "workflow": "child", "input": {}}))
    named = submit(one_task("named", {"type": "workflow", "workflow": "child", "version": 1, "input": {}}))
    drain()
    assert children(newest)[0].version == 2
    assert children(named)[0].version == 1
    assert fresh(newest).status == fresh(named).status == "DONE"


@pytest.mark.parametrize(
    ("task", "error", "said"),
    [
        ({"workflow": "nowhere"}, "DefinitionNotFound", "no nowhere"),
        ({"workflow": "child", "version": 9}, "DefinitionNotFound", "version 9 of child"),
        ({"workflow": "child", "version": 2}, "DefinitionNotFound", "Version 2 of child is retired"),
        ({"workflow": "child", "version": 1, "input": {"n": "x"}}, "ValidationError", "/n: "),
    ],
)
def test_a_child_workflow_that_cannot_be_started_fails_its_task_by_name(task, error, said):
    child_workflow(input_schema={"type": "object", "properties": {"n": {"type": "number"}}})
    child_workflow(title="second")
    Retirement.objects.create(name="child", version=2)
    job = submit(one_task("refused", {"type": "workflow", "input": {}, **task}))
    drain()
    job = fresh(job)
    assert (job.status, job.data.error["name"]) == ("FAIL", error)
    assert said in job.data.error["cause"]
    assert not ChildGroup.objects.exists()


def test_a_refused_start_that_is_retried_at_once_is_refused_again():
    retry = [{"errors": ["*"], "interval": "PT0S", "max_attempts": 3}]
    job = submit(one_task("again", {"type": "workflow", "workflow": "nowhere", "input": {}, "retry": retry}))
    for _ in range(3):
        drain()
    assert fresh(job).data.error["name"] == "DefinitionNotFound"


def test_a_workflow_that_contains_itself_is_refused_by_name():
    publish({"name": "a", "tasks": {"t": {"type": "workflow", "workflow": "b", "input": {}}}})
    publish(
        {
            "name": "b",
            "tasks": {"m": {"type": "map", "items": [1], "task": {"type": "workflow", "workflow": "a", "input": {}}}},
        }
    )
    job = submit(Definition.objects.get(name="a"))
    drain()
    job = fresh(job)
    assert job.data.error["name"] == "RecursiveWorkflow"
    assert "a → b → a" in job.data.error["cause"]
    assert_settled()


def test_workflows_nest_twenty_deep_and_no_deeper():
    for number in range(21):
        publish({"name": f"w{number}", "tasks": {"t": {"type": "workflow", "workflow": f"w{number + 1}", "input": {}}}})
    publish({"name": "w21", "tasks": {"t": {"type": "pass"}}})
    fits = submit(Definition.objects.get(name="w1"))
    deeper = submit(Definition.objects.get(name="w0"))
    drain()
    assert fresh(fits).status == "DONE"
    assert fresh(deeper).data.error["name"] == "RecursiveWorkflow"
    assert_settled()


def test_a_job_type_without_a_definition_can_be_a_child():
    register("echo", "Echo")
    job = submit(one_task("plain", {"type": "workflow", "workflow": "echo", "input": {"a": 1}}))
    drain()
    assert fresh(job).data.output["input"] == {"a": 1}


def test_a_failed_child_workflow_that_undid_itself_fails_the_parent_by_its_own_error():
    register("remembers", "Remembers")
    register("fails", "AnswersFailed")
    publish(
        {
            "name": "child",
            "on_failure": "compensate",
            "tasks": {
                "book": {"type": "plugin", "plugin": "remembers", "compensate": "remembers"},
                "pay": {"type": "plugin", "plugin": "fails"},
            },
            "transitions": [{"from": "book", "to": "pay"}],
        }
    )
    job = submit(one_task("parent", {"type": "workflow", "workflow": "child", "input": {}}))
    drain()
    assert children(job)[0].status == "CANC"
    assert fresh(job).data.error["name"] == "Refused"
    assert [context.task for context in Remembers.seen] == ["book", "undo:book"]
    assert_settled()


def test_a_parent_that_is_cancelled_with_compensation_has_its_child_undone_too():
    register("remembers", "Remembers")
    register("parks", "Parks")
    publish(
        {
            "name": "child",
            "tasks": {
                "book": {"type": "plugin", "plugin": "remembers", "compensate": "remembers"},
                "wait": {"type": "plugin", "plugin": "parks"},
            },
            "transitions": [{"from": "book", "to": "wait"}],
        }
    )
    job = submit(one_task("parent", {"type": "workflow", "workflow": "child", "input": {}}))
    drain()
    cancel_job(job.pk, actor="operator", compensate=True)
    drain()
    assert fresh(job).status == "CANC"
    assert children(job)[0].status == "CANC"
    assert [context.task for context in Remembers.seen] == ["book", "undo:book"]
    assert_settled()


# ---- what a crash leaves ---------------------------------------------------------------------------------------------


def test_groups_that_nobody_settled_are_found_by_the_service(monkeypatch):
    job = submit(a_map(), {"items": [1, 2, 3]})
    with monkeypatch.context() as crash:
        crash.setattr(settling, "settle_groups", lambda ids: 0)
        drain()
    assert not children(job), "killed between the parent's commit and the settling"
    assert Settler().run_once() == {"settled": 1}
    assert len(children(job)) == 3
    with monkeypatch.context() as crash:
        crash.setattr(settling, "settle_groups", lambda ids: 0)
        drain()
    assert fresh(job).status == "PEND", "killed between a child's end and the settling"
    assert Settler().run_once() == {"settled": 1}
    drain()
    assert fresh(job).status == "DONE"
    assert TaskRun.objects.filter(status="done").count() == 4
    assert_settled()


def test_the_service_walks_through_all_groups_a_slice_at_a_time():
    register("parks", "Parks")
    jobs = [submit(a_map(f"m{n}", {"type": "plugin", "plugin": "parks"}), {"items": [1]}) for n in range(7)]
    drain()
    last = Job.objects.get(parent=jobs[-1])
    Job.objects.filter(pk=last.pk).update(status="FAIL")
    service = Settler()
    service.slice_size = 3
    with CaptureQueriesContext(connection) as found:
        assert [service.run_once()["settled"] for _ in range(2)] == [0, 0]
    assert len(found) == 4
    assert service.run_once() == {"settled": 1}
    assert ChildGroup.objects.get(job=jobs[-1]).closing == "failed"


def test_a_child_that_cannot_even_be_decided_on_is_told_to_its_parent():
    publish({"name": "child", "tasks": {"c": {"type": "pass"}}})
    job = submit(one_task("parent", {"type": "workflow", "workflow": "child", "input": {}}))
    with pytest.MonkeyPatch.context() as patch:
        real = executor.get_definition

        def lost(workflow, version, fragment=""):
            if workflow == "child":
                raise DefinitionNotFound("It is not here.")
            return real(workflow, version, fragment)

        patch.setattr(executor, "get_definition", lost)
        drain()
    assert fresh(job).data.error["name"] == "DefinitionNotFound"
    assert_settled()
