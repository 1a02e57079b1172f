"""Published definitions."""

from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef
from django.utils import timezone


def _retirements() -> "models.QuerySet[Retirement]":
    return Retirement.objects.filter(name=OuterRef("name"), version=OuterRef("version"))


class DefinitionQuerySet(models.QuerySet["Definition"]):
    """The vocabulary of definitions."""

    def newest(self, name: str) -> "Definition | None":
        """The highest published version of a workflow, or None."""
        return self.filter(name=name).order_by("-version").first()

    def open_to_jobs(self) -> "DefinitionQuerySet":
        """Versions that a new job may start on: those that are not retired."""
        return self.filter(~Exists(_retirements()))

    def with_retired(self) -> "DefinitionQuerySet":
        """Each with `retired`: whether no new job may start on it."""
        return self.annotate(retired=Exists(_retirements()))

    def update(self, **kwargs: Any) -> int:
        raise TypeError("A published definition is never changed: publish a new version.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("A published definition is never deleted: jobs and histories refer to it.")


class Definition(models.Model):
    """One published version of a workflow's document. Never changed and never deleted.

    Absent on purpose: a link to the jobs that run on it. They may live in another database, and name it by workflow
    and version.
    """

    name = models.SlugField(max_length=100)
    version = models.PositiveIntegerField()
    title = models.CharField(max_length=200, blank=True)
    document = models.JSONField(help_text="The JSON document, as published.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the canonical JSON of the document.")
    note = models.CharField(max_length=500, blank=True)
    published_by = models.CharField(max_length=150, blank=True)
    published_at = models.DateTimeField(default=timezone.now)

    objects = DefinitionQuerySet.as_manager()

    class Meta:
        ordering = ["name", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["name", "version"], name="definition_name_version"),
            models.CheckConstraint(condition=models.Q(version__gte=1), name="definition_version_from_1"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A published definition is never changed: publish a new version.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("A published definition is never deleted: jobs and histories refer to it.")


class Draft(models.Model):
    """The document that somebody is still working on: one a workflow. Publishing it makes the next version."""

    name = models.SlugField(max_length=100, unique=True)
    document = models.JSONField()
    based_on = models.PositiveIntegerField(default=0, help_text="Newest version when the draft was begun.")
    note = models.CharField(max_length=500, blank=True)
    revision = models.PositiveIntegerField(
        default=1, help_text="Rises with every change: whoever saves says which one they saw."
    )
    updated_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"draft of {self.name}"


class Retirement(models.Model):
    """A version that no new job may start on. Jobs that run on it go on. Deleting the row brings the version back."""

    name = models.SlugField(max_length=100)
    version = models.PositiveIntegerField()
    reason = models.CharField(max_length=500, blank=True)
    retired_by = models.CharField(max_length=150, blank=True)
    retired_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "-version"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="retirement_once")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version} is retired"
