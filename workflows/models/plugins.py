"""The configuration table of plugins."""

from django.core.validators import RegexValidator
from django.db import models

from workflows.engine.contract import PLUGIN_NAME


class PluginRegistration(models.Model):
    """One job type and the class that does it. A definition's task names the job type, never the class.

    The module must lie in an allow-listed package (`WORKFLOW_PLUGIN_PACKAGES`): see `workflows.registry`.
    """

    job_type = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(PLUGIN_NAME, "Lower-case words joined by dots, such as claims.validate.")],
    )
    module = models.CharField(max_length=200, help_text="For example plugins.claims.validate")
    class_name = models.CharField(max_length=100, help_text="For example ValidateClaim")
    configuration = models.JSONField(default=dict, blank=True)
    description = models.CharField(max_length=500, blank=True)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["job_type"]

    def __str__(self) -> str:
        return self.job_type

    def clean(self) -> None:
        """Refuse what could never run: a module outside the allow-list, a configuration that breaks its schema."""
        from django.core.exceptions import ValidationError

        from workflows.registry import faults_of

        faults = faults_of(self)
        if faults:
            raise ValidationError(faults)
