"""What departments and their items look like from outside: names to the letter of the public contract."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from departments import quorum
from departments.models import Comment, Department, DepartmentResponse, Membership, WorkItem


class VoteSerializer(serializers.Serializer[Any]):
    """What one person of several decided."""

    by = serializers.CharField()
    outcome = serializers.CharField()
    comment = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()


class QuorumSerializer(serializers.Serializer[Any]):
    """How many votes it takes, and how they stand."""

    need = serializers.IntegerField()
    of = serializers.IntegerField()
    veto = serializers.BooleanField()
    cast = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField())


class WorkItemSerializer(serializers.ModelSerializer[WorkItem]):
    """One work item."""

    job = serializers.UUIDField(source="job_id")
    department = serializers.SlugRelatedField(slug_field="code", read_only=True)
    assignee = serializers.SlugRelatedField(slug_field="username", read_only=True)
    decided_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    quorum = serializers.SerializerMethodField()
    votes = serializers.SerializerMethodField()
    constraints = serializers.JSONField(read_only=True, allow_null=True)

    @extend_schema_field(QuorumSerializer(allow_null=True))
    def get_quorum(self, item: WorkItem) -> dict[str, Any] | None:
        return quorum.tally(item)

    @extend_schema_field(VoteSerializer(many=True))
    def get_votes(self, item: WorkItem) -> list[dict[str, Any]]:
        return [quorum.shown(vote) for vote in item.votes.all()] if item.quorum else []

    class Meta:
        model = WorkItem
        fields = (
            "id",
            "job",
            "workflow",
            "task",
            "iteration",
            "department",
            "title",
            "status",
            "assignee",
            "outcomes",
            "form",
            "data",
            "priority",
            "due_at",
            "follow_up_at",
            "escalated_at",
            "constraints",
            "quorum",
            "votes",
            "version",
            "created_at",
            "decided_by",
            "decided_at",
            "outcome",
            "comment",
        )
        read_only_fields = fields


class CommentSerializer(serializers.ModelSerializer[Comment]):
    """What a person said about an item."""

    item = serializers.UUIDField(source="item_id")
    author = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Comment
        fields = ("id", "item", "author", "text", "at")
        read_only_fields = fields


class ResponseSerializer(serializers.ModelSerializer[DepartmentResponse]):
    """An answer to a task, as it is kept."""

    job = serializers.UUIDField(source="job_id")
    received_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = DepartmentResponse
        fields = (
            "job",
            "task",
            "iteration",
            "status",
            "data",
            "response_id",
            "format",
            "received_by",
            "received_at",
        )
        read_only_fields = fields


class MemberSerializer(serializers.Serializer[Membership]):
    """One person of a department."""

    username = serializers.CharField(source="user.username")
    role = serializers.ChoiceField(choices=Membership.Role.choices, default=Membership.Role.MEMBER)


class DepartmentSerializer(serializers.ModelSerializer[Department]):
    """A department with its people."""

    calendar = serializers.SlugRelatedField(slug_field="code", read_only=True)
    members: Any = MemberSerializer(source="memberships", many=True)

    class Meta:
        model = Department
        fields = ("code", "name", "calendar", "members")
