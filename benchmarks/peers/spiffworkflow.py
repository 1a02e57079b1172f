"""SpiffWorkflow: a job is a BPMN process of three script tasks; its serialized state is stored after each of them.

SpiffWorkflow is a library without a database of its own. What stands around it here is the least that loses no step:
a table of jobs, a claim with SKIP LOCKED that holds the job's row for one transaction per step, and its serializer.
"""

from __future__ import annotations

import io

import psycopg
from protocol import PROCESSES, STEPS, begun, main, tell, wait_for_go, workers

BPMN = """<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" id="bench" targetNamespace="bench">
  <bpmn:process id="three" isExecutable="true">
    <bpmn:startEvent id="start"><bpmn:outgoing>a</bpmn:outgoing></bpmn:startEvent>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="first"/>
    <bpmn:scriptTask id="first"><bpmn:incoming>a</bpmn:incoming><bpmn:outgoing>b</bpmn:outgoing>
      <bpmn:script>pass</bpmn:script></bpmn:scriptTask>
    <bpmn:sequenceFlow id="b" sourceRef="first" targetRef="second"/>
    <bpmn:scriptTask id="second"><bpmn:incoming>b</bpmn:incoming><bpmn:outgoing>c</bpmn:outgoing>
      <bpmn:script>pass</bpmn:script></bpmn:scriptTask>
    <bpmn:sequenceFlow id="c" sourceRef="second" targetRef="third"/>
    <bpmn:scriptTask id="third"><bpmn:incoming>c</bpmn:incoming><bpmn:outgoing>d</bpmn:outgoing>
      <bpmn:script>pass</bpmn:script></bpmn:scriptTask>
    <bpmn:sequenceFlow id="d" sourceRef="third" targetRef="end"/>
    <bpmn:endEvent id="end"><bpmn:incoming>d</bpmn:incoming></bpmn:endEvent>
  </bpmn:process>
</bpmn:definitions>"""

TABLE = """
CREATE TABLE job (id bigint PRIMARY KEY, step smallint NOT NULL DEFAULT 0, ready bool NOT NULL DEFAULT true,
                  state jsonb NOT NULL) WITH (fillfactor = 50);
CREATE INDEX job_ready ON job (id) WHERE ready;
"""
CLAIM = "SELECT id, state::text FROM job WHERE ready ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
STORE = "UPDATE job SET state = %s::jsonb, step = step + 1, ready = %s WHERE id = %s"


def serializer():
    from SpiffWorkflow.bpmn.serializer import BpmnWorkflowSerializer

    return BpmnWorkflowSerializer(BpmnWorkflowSerializer.configure())


def new_state() -> str:
    from lxml import etree
    from SpiffWorkflow.bpmn.parser import BpmnParser
    from SpiffWorkflow.bpmn.workflow import BpmnWorkflow

    parser = BpmnParser()
    parser.add_bpmn_xml(etree.parse(io.BytesIO(BPMN.encode())).getroot(), filename="three.bpmn")
    return serializer().serialize_json(BpmnWorkflow(parser.get_spec("three")))


def peer(url: str, jobs: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
    tell(ready={"tuning": "the specification is kept in the state, as its serializer does; prepared statements"})
    wait_for_go()
    with workers() as mine, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO job (id, state) SELECT n, %s::jsonb FROM generate_series(1, %s) n", [new_state(), jobs]
        )
        connection.execute("VACUUM (ANALYZE)")
        for _ in range(PROCESSES):
            mine.start_own()
        query = "SELECT count(*) FROM job WHERE ready"
        mine.run(lambda: connection.execute(query).fetchone() == (0,), jobs * STEPS, True)
        assert connection.execute("SELECT sum(step) FROM job").fetchone() == (jobs * STEPS,)


def worker(url: str, jobs: int) -> None:
    """Claim a job, run its next script task, store its state, commit; the next one that is free."""
    from SpiffWorkflow.bpmn.specs.mixins import ScriptTaskMixin
    from SpiffWorkflow.util.task import TaskState

    mine = serializer()
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            with connection.transaction():
                row = connection.execute(CLAIM, prepare=True).fetchone()
                if row is None:
                    break
                begun()
                workflow = mine.deserialize_json(row[1])
                one_script(workflow, ScriptTaskMixin, TaskState)
                left = any(
                    isinstance(task.task_spec, ScriptTaskMixin) for task in workflow.get_tasks(state=TaskState.READY)
                )
                if not left:
                    workflow.do_engine_steps()
                connection.execute(STORE, [mine.serialize_json(workflow), left, row[0]], prepare=True)


def one_script(workflow, script, states) -> None:
    """Run what is ready up to and with one script task, and what follows it up to the next one."""
    ran = False
    while True:
        ready = workflow.get_tasks(state=states.READY)
        if not ready or (ran and isinstance(ready[0].task_spec, script)):
            return
        ran = ran or isinstance(ready[0].task_spec, script)
        ready[0].run()


if __name__ == "__main__":
    main(peer, worker)
