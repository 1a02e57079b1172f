"""Departments in the admin: who belongs where is changed here; what was asked and answered is only read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from import_export import fields, resources
from import_export.widgets import ForeignKeyWidget

from workflows.admin.forms import JobLink, TableAdmin
from workflows.models import Calendar
from workflows.reporting.admin_actions import export_actions

from .models import Comment, Department, DepartmentResponse, Membership, WorkItem


class DepartmentResource(resources.ModelResource):
    """Departments as rows, known by their code."""

    calendar = fields.Field(attribute="calendar", column_name="calendar", widget=ForeignKeyWidget(Calendar, "code"))

    class Meta:
        model = Department
        import_id_fields = ("code",)
        fields = ("code", "name", "description", "calendar")
        skip_unchanged = True
        report_skipped = True


class MembershipResource(resources.ModelResource):
    """Memberships as rows: department code, username, role."""

    department = fields.Field(attribute="department", widget=ForeignKeyWidget(Department, "code"))
    user = fields.Field(attribute="user", widget=ForeignKeyWidget(Membership.user.field.related_model, "username"))

    class Meta:
        model = Membership
        import_id_fields = ("department", "user")
        fields = ("department", "user", "role")
        skip_unchanged = True
        report_skipped = True


class MembershipInline(admin.TabularInline):
    """The people of a department, on its page."""

    model = Membership
    extra = 1
    autocomplete_fields = ("user",)


@admin.register(Department)
class DepartmentAdmin(TableAdmin):
    """Departments with their members. The code is fixed once given: definitions name the department by it."""

    resource_classes = [DepartmentResource]
    inlines = [MembershipInline]
    list_display = ("name", "code", "description", "calendar", "member_count")
    list_select_related = ("calendar",)
    search_fields = ("name", "code", "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Department]:
        return super().get_queryset(request).annotate(member_count=Count("memberships"))

    @admin.display(description="Members", ordering="member_count")
    def member_count(self, department: Any) -> int:
        """How many people belong to it."""
        return int(department.member_count)

    def get_readonly_fields(self, request: HttpRequest, obj: Department | None = None) -> tuple[str, ...]:
        return ("code",) if obj else ()


@admin.register(Membership)
class MembershipAdmin(TableAdmin):
    """Who belongs where, as one list, to load and save as a file."""

    resource_classes = [MembershipResource]
    list_display = ("department", "user", "role")
    list_filter = ("role", "department")
    list_select_related = ("department", "user")
    search_fields = ("user__username", "department__name", "department__code")
    autocomplete_fields = ("department", "user")


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that people read here and change only by the product's own verbs."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(WorkItem)
class WorkItemAdmin(JobLink, ReadOnlyAdmin):
    """What departments were asked."""

    list_display = (
        "title",
        "reference",
        "workflow",
        "task",
        "department",
        "status",
        "assignee",
        "due_at",
        "outcome",
        "decided_by",
        "decided_at",
    )
    list_filter = ("status", "kind", "department", "workflow")
    list_select_related = ("department", "assignee", "decided_by")
    search_fields = ("=id", "=job__id", "=reference", "title")
    exclude = ("job",)
    readonly_fields = ("job_link",)
    actions = export_actions("work-items")


@admin.register(DepartmentResponse)
class DepartmentResponseAdmin(JobLink, ReadOnlyAdmin):
    """The async data table: answers as they were received."""

    list_display = ("task", "status", "format", "response_id", "received_by", "received_at", "job_link")
    list_filter = ("format", "work_item__department")
    list_select_related = ("received_by",)
    exclude = ("job",)
    readonly_fields = ("job_link",)
    search_fields = ("=job__id", "=response_id", "=task")


@admin.register(Comment)
class CommentAdmin(ReadOnlyAdmin):
    """What was said about items."""

    list_display = ("text", "author", "at", "item")
    list_filter = ("item__department",)
    list_select_related = ("author", "item")
    search_fields = ("=item__id", "text")
