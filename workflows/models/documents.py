"""Documents: files that come with a request, or that a step or a department adds."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from .ids import uuid7
from .jobs import Job


def stored_name(document: "Document", filename: str) -> str:
    """Where a document's content lies: under its id alone, so that no name from outside becomes a path."""
    return f"{document.created_at:%Y/%m}/{document.id}"


class Document(models.Model):
    """One file. `media_type` is what its content was found to be, not what the sender claimed.

    Uploaded first and attached by the submission that names it; one that is never attached is pruned after a day.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="documents"
    )
    task = models.CharField(max_length=100, blank=True, help_text="The task that made it; empty when it was sent in.")
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=150)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    content = models.FileField(upload_to=stored_name, max_length=255)
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(job__isnull=True), name="document_unattached")
        ]

    def __str__(self) -> str:
        return self.name
