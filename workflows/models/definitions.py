"""Published definitions."""

from typing import Any

from django.db import models
from django.utils import timezone


class DefinitionQuerySet(models.QuerySet["Definition"]):
    """The vocabulary of definitions."""

    def newest(self, name: str) -> "Definition | None":
        """The highest published version of a workflow, or None."""
        return self.filter(name=name).order_by("-version").first()

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
