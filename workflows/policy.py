"""Who may do what with jobs and with what is configured: the one place that views, API, admin and queries ask.

| verb      | who                                                                                               |
| --------- | ------------------------------------------------------------------------------------------------- |
| submit    | every active user                                                                                 |
| see a job | who submitted it, operators, superusers; by a registered rule, members of a department it asked;   |
|           | who sees the job that waits for it                                                                |
| see event | who sent it, or submitted the job that emitted it; operators, superusers                           |
| operate   | superusers and holders of `workflows.operate_job`: the group `operators` has it                   |
| configure | superusers and holders of `workflows.add_definition`: the group `configurators` has it            |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Exists, OuterRef, Q, QuerySet

from .models import ArchivedJob, Document, Event, Job

OPERATORS = "operators"
CONFIGURATORS = "configurators"

SCOPES = {
    "read": "Read what the user may see",
    "submit": "Submit jobs and documents, send events",
    "respond": "Answer external tasks",
    "work": "Claim and decide work items",
    "operate": "Cancel, retry and skip jobs",
    "configure": "Publish definitions, register departments and plugins",
}
"""What a token may be narrowed to. A token without scopes may do all that its user may."""

GENERATIONS = 2
"""So far down the children of a job that a rule shows are shown with it."""

_visibility: list[Callable[[Any], Q]] = []


def register_job_visibility(rule: Callable[[Any], Q]) -> None:
    """Let `rule(user)` add jobs that a user may see. Its condition must not join: use a subquery, `Q(pk__in=…)`. It is
    asked of the archived jobs too, so it must be about the id alone."""
    if rule not in _visibility:
        _visibility.append(rule)


def visible_jobs(user: Any) -> QuerySet[Job]:
    """The jobs that a user may see. Those in the archive are not among them."""
    return _visible(Job.objects.all(), user)


def visible_archived_jobs(user: Any) -> QuerySet[ArchivedJob]:
    """The archived jobs that a user may see: by the same rules as the others. Their documents are not read yet."""
    return _visible(ArchivedJob.objects.defer("document"), user)


def _visible(jobs: QuerySet[Any], user: Any) -> QuerySet[Any]:
    if not user.is_active:
        return jobs.none()
    if may_operate(user):
        return jobs
    condition = Q(submitted_by_id=user.pk)
    for rule in _visibility:
        # A child has the submitter of its parent. Who sees the parent for another reason sees the child for that one.
        shown = rule(user)
        condition |= shown
        for _ in range(GENERATIONS):
            parents = jobs.model._default_manager.filter(shown).values("pk")
            shown = Q(parent_id__isnull=False, parent_id__in=parents)
            condition |= shown
    return jobs.filter(condition)


def visible_documents(user: Any) -> QuerySet[Document]:
    """The documents that a user may read: those they uploaded, and those of the jobs they may see."""
    if not user.is_active:
        return Document.objects.none()
    if may_operate(user):
        return Document.objects.all()
    archived = Exists(visible_archived_jobs(user).filter(pk=OuterRef("job_id")))
    return Document.objects.filter(Q(uploaded_by_id=user.pk) | Q(job__in=visible_jobs(user)) | archived)


def visible_events(user: Any) -> QuerySet[Event]:
    """The events that a user may read: operators all of them, everybody else those they sent or their jobs emitted."""
    if not user.is_active:
        return Event.objects.none()
    return Event.objects.all() if may_operate(user) else Event.objects.filter(received_by_id=user.pk)


def may_operate(user: Any) -> bool:
    """True for those who cancel, retry and skip, and therefore see every job."""
    return _holds(user, "operate_job")


def may_configure(user: Any) -> bool:
    """True for those who publish definitions and register plugins and departments."""
    return _holds(user, "add_definition")


def _holds(user: Any, codename: str) -> bool:
    """Whether a user holds a permission of this application, in one query that is kept with the user object.

    `has_perm` would say the same in two queries: most requests ask for one permission and no more.
    """
    if not user.is_active or user.pk is None:
        return False
    if user.is_superuser:
        return True
    kept: dict[str, bool] = user.__dict__.setdefault("_workflow_permissions", {})
    if codename not in kept:
        permissions = Permission.objects.filter(content_type__app_label="workflows", codename=codename)
        kept[codename] = permissions.filter(Q(user=user.pk) | Q(group__user=user.pk)).exists()
    return kept[codename]
