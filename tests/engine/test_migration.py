"""A state of one version as a state of another: what moves, what needs a mapping, and what cannot."""

from __future__ import annotations

from typing import Any

from tests.engine.driver import Job, define, edge, human, plugin
from workflows.engine.definition import Definition
from workflows.engine.migration import Migration, migrate

TWO = define({"a": plugin(), "b": human()}, edge("a", "b"))


def moved(job: Job, new: Definition, **mapping: str) -> Migration:
    return migrate(job.definition, new, job.state, mapping, job.now)


def going_on(job: Job, new: Definition, **mapping: str) -> Job:
    """The job on its new version, for a test to drive on."""
    move = moved(job, new, **mapping)
    assert not move.obstacles
    job.definition, job.state, job.commands, job.records = new, move.state, move.commands, move.records
    return job


def at_b(definition: Definition = TWO) -> Job:
    job = Job(definition)
    job.done("a", {"n": 1})
    return job


def codes(move: Migration) -> list[tuple[str, str]]:
    return [(obstacle.code, obstacle.task) for obstacle in move.obstacles]


def test_a_job_moves_to_a_version_with_the_same_tasks_and_goes_on_there() -> None:
    new = define({"c": plugin(), "b": human(title="Look"), "a": plugin()}, edge("b", "c"), edge("a", "b"))
    job = going_on(at_b(), new)
    job.answer("b", "approve")
    assert job.runnable == ("c",)
    job.done("c")
    assert job.status == "DONE"


def test_transitions_are_found_by_their_ends_and_kind_wherever_they_stand() -> None:
    old = define(
        {"a": plugin(), "b": plugin(), "c": plugin(), "d": plugin()},
        edge("a", "c"),
        edge("b", "c"),
        edge("c", "d"),
    )
    new = define(
        {"a": plugin(), "b": plugin(), "c": plugin(), "d": plugin()},
        edge("c", "d"),
        edge("b", "c", on_error=["*"]),
        edge("b", "c"),
        edge("a", "c"),
    )
    job = Job(old)
    job.done("a")
    job = going_on(job, new)
    assert job.state.transitions == {3: "taken"}
    job.done("b")
    assert job.runnable == ("c",)


def test_a_task_that_is_gone_needs_a_mapping_while_the_job_is_at_it() -> None:
    new = define({"a": plugin(), "look": human()}, edge("a", "look"))
    assert codes(moved(at_b(), new)) == [("needs_mapping", "b")]
    job = going_on(at_b(), new, b="look")
    job.answer("look", "approve")
    assert job.status == "DONE"


def test_a_mapping_names_tasks_that_are_there_and_no_two_for_one() -> None:
    assert codes(moved(at_b(), TWO, x="b")) == [("unknown_task", "x")]
    assert codes(moved(at_b(), TWO, b="x")) == [("unknown_task", "x")]
    assert codes(moved(at_b(), TWO, a="b", b="b")) == [("ambiguous_mapping", "b")]
    assert codes(moved(at_b(), TWO, a="b")) == [("ambiguous_mapping", "b")]


def test_names_can_be_exchanged() -> None:
    new = define({"b": plugin(), "a": human()}, edge("b", "a"))
    job = going_on(at_b(), new, a="b", b="a")
    assert (job.standing("b"), job.standing("a")) == ("done", "waiting")
    assert job.state.tasks["b"].output == {"n": 1}


def test_another_type_and_an_outcome_that_is_gone_cannot() -> None:
    assert codes(moved(at_b(), define({"a": plugin(), "b": plugin()}, edge("a", "b")))) == [("other_type", "b")]
    new = define({"a": plugin(), "b": human(outcomes=["approve", "return"])}, edge("a", "b"))
    move = moved(at_b(), new)
    assert codes(move) == [("outcome_gone", "b")]
    assert "`reject`" in move.obstacles[0].detail
    assert not moved(at_b(), define({"a": plugin(), "b": human(outcomes=["approve", "reject", "x"])})).obstacles


def test_an_output_that_is_still_read_must_not_get_lost() -> None:
    old = define({"a": plugin(), "b": human(), "c": plugin(input="${tasks.a.output}")}, edge("a", "b"), edge("b", "c"))
    new = define(
        {"first": plugin(), "b": human(), "c": plugin(input="${tasks.first.output}")},
        edge("first", "b"),
        edge("b", "c"),
    )
    move = moved(at_b(old), new)
    assert codes(move) == [("output_gone", "first")]
    assert "Map the task that did its work: a." in move.obstacles[0].detail
    job = going_on(at_b(old), new, a="first")
    job.answer("b", "approve")
    assert job.runnable == ("c",)


def test_a_task_that_has_ended_may_go_when_nothing_reads_it() -> None:
    job = going_on(at_b(), define({"b": human()}))
    job.answer("b", "approve")
    assert job.status == "DONE"
    assert "a" not in job.state.tasks


def test_a_new_transition_out_of_a_task_that_has_ended_was_passed() -> None:
    new = define(
        {"a": plugin(), "b": human(), "c": plugin(), "d": plugin(join="all")},
        edge("a", "b"),
        edge("a", "c"),
        edge("b", "d"),
        edge("c", "d"),
    )
    move = moved(at_b(), new)
    assert "The new transition from a to c was passed." in move.notes
    assert "c is skipped." in move.notes
    job = going_on(at_b(), new)
    job.answer("b", "approve")
    assert job.runnable == ("d",)


def test_a_new_start_task_was_passed_and_holds_no_join_back() -> None:
    new = define(
        {"a": plugin(), "b": human(), "c": plugin(), "d": plugin()}, edge("a", "b"), edge("b", "d"), edge("c", "d")
    )
    job = going_on(at_b(), new)
    assert job.standing("c") == "skipped"
    job.answer("b", "approve")
    assert job.runnable == ("d",)


def test_a_join_that_waits_for_a_branch_that_is_gone_starts() -> None:
    tasks = {"a": plugin(), "b": plugin(), "c": plugin()}
    job = Job(define(tasks, edge("a", "c"), edge("b", "c")))
    job.done("b")
    job.fail("a", "Broken")
    assert codes(moved(job, define({"b": plugin(), "c": plugin()}, edge("b", "c")))) == [("needs_mapping", "a")]
    job = Job(define({**tasks, "w": human()}, edge("a", "c"), edge("b", "c"), edge("w", "b")))
    job.done("a")
    new = define({"a": plugin(), "c": plugin(), "w": human()}, edge("a", "c"))
    move = moved(job, new)
    assert move.state.runnable == ("c",)


def test_a_job_that_has_not_started_only_changes_its_version() -> None:
    job = Job(TWO, start=False)
    assert moved(job, define({"x": plugin()})).state is job.state


def test_a_waiting_task_goes_on_as_it_was_asked() -> None:
    move = moved(at_b(), define({"a": plugin(), "b": human(due="P9D")}, edge("a", "b")))
    assert move.notes == ("b goes on waiting as it was asked for in the old version.",)
    assert not move.commands


def test_a_step_that_is_due_and_got_another_type_of_start_is_started() -> None:
    job = Job(define({"a": plugin()}))
    move = moved(job, define({"a": plugin(queue="far")}))
    assert [type(command).__name__ for command in move.commands] == ["StartChildren"]
    assert move.state.status == "PEND"


def test_the_count_of_a_loop_moves_with_it() -> None:
    def looped(*first: dict[str, Any], most: int = 2) -> Definition:
        back = edge("b", "a", "outcome == 'reject'", loop={"max_iterations": most})
        return define({"a": plugin(), "b": human(), **({"c": plugin()} if first else {})}, *first, edge("a", "b"), back)

    job = at_b(looped())
    job.answer("b", "reject")
    job.done("a")
    job = going_on(job, looped(edge("b", "c", "outcome == 'approve'"), most=1))
    job.answer("b", "reject")
    assert job.status == "FAIL"
    assert job.state.tasks["b"].error == {
        "name": "LoopLimitExceeded",
        "cause": "The loop from b to a was taken 1 times.",
    }


def test_what_can_no_longer_be_undone_is_said() -> None:
    old = define({"a": plugin(compensate="x"), "b": human()}, edge("a", "b"))
    move = moved(at_b(old), TWO)
    assert move.state.undo == ()
    assert any("can no longer be undone" in note for note in move.notes)
    assert moved(at_b(old), old).state.undo == (("a", 1),)


def test_a_job_that_is_being_undone_does_not_move() -> None:
    from workflows.engine.events import CancelRequested

    old = define({"a": plugin(compensate="x"), "b": human()}, edge("a", "b"))
    job = at_b(old)
    job.send(CancelRequested("ann", "", compensate=True))
    assert codes(moved(job, old)) == [("wrong_phase", "")]


def test_moving_to_the_very_same_version_changes_nothing() -> None:
    job = at_b()
    assert moved(job, TWO).state.to_json() == job.state.to_json()
