"""Jobs that wait for a department, made by hand: what the worker leaves behind when it parks one."""

from __future__ import annotations

from typing import Any

from departments.models import Department, Membership, WorkItem
from tests.factories import DepartmentFactory, MembershipFactory, UserFactory
from workflows.models import Job, JobData, JobStatus

FORM = {
    "type": "object",
    "properties": {"payable": {"type": "number"}, "note": {"type": "string"}},
    "additionalProperties": False,
}


def parked_job(**values: Any) -> Job:
    """A job that waits."""
    job = Job.objects.create(
        **{"workflow": "insurance_claim", "version": 1, "status": JobStatus.PEND, "correlation_id": "CLM-1"} | values
    )
    JobData.objects.create(job=job, input={"claim_no": "CLM-1"})
    return job


def open_item(department: Department | None = None, *, job: Job | None = None, **values: Any) -> WorkItem:
    """An open request of a waiting job to a department."""
    job = job or parked_job()
    return WorkItem.objects.create(
        **{
            "job": job,
            "workflow": job.workflow,
            "reference": job.correlation_id,
            "task": "verify",
            "department": department or DepartmentFactory(),
            "title": "Verify claim CLM-1",
            "outcomes": ["approve", "reject", "return"],
            "form": FORM,
            "data": {"amount": 900},
        }
        | values
    )


def external_item(department: Department | None = None, **values: Any) -> WorkItem:
    """A request to a department that a system answers."""
    plain = {"kind": "external", "task": "ship", "outcomes": [], "form": None, "title": "Ship order"}
    return open_item(department, **plain | values)


def member(department: Department, username: str = "", *, lead: bool = False, **values: Any) -> Any:
    """A new user who belongs to the department."""
    user = UserFactory(**({"username": username} if username else {}) | values)
    join(user, department, lead=lead)
    return user


def join(user: Any, department: Department, *, lead: bool = False) -> None:
    """Make the user a member, or a lead, of the department."""
    role = Membership.Role.LEAD if lead else Membership.Role.MEMBER
    MembershipFactory(department=department, user=user, role=role)
    user.__dict__.pop("_standing", None)
