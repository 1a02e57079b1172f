"""Forms and parts that the admin shares."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from import_export.admin import ImportExportModelAdmin
from import_export.formats.base_formats import CSV, XLSX
from import_export.forms import ExportForm

from workflows.engine.exceptions import UnreadableDocument
from workflows.engine.parsing import load_text


def pretty(value: Any) -> SafeString | str:
    """JSON as people read it."""
    if value is None:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


class ReadOnlyAdmin(admin.ModelAdmin):
    """A list and a page that change nothing."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class JobLink:
    """A column that leads to the job of a row, which may be archived by now: mix into an admin."""

    @admin.display(description="Job", ordering="job_id")
    def job_link(self, row: Any) -> SafeString | str:
        """The job's id, as a link. The page of a job leads on to the archive where it is there."""
        if row.job_id is None:
            return "-"
        return format_html('<a href="{}">{}</a>', reverse("admin:workflows_job_change", args=[row.job_id]), row.job_id)


class TableAdmin(ImportExportModelAdmin):
    """A list that can be loaded and saved as a file, CSV or XLSX.

    The form has no boxes for single columns: those need an inline script, which no page here may have.
    """

    formats = (CSV, XLSX)
    export_form_class = ExportForm


class ReadOnlyInline(admin.TabularInline):
    """Rows on another row's page that change nothing."""

    extra = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PublishForm(forms.Form):
    """A definition as text."""

    text = forms.CharField(
        label="Document",
        strip=False,
        max_length=2**20,
        widget=forms.Textarea(attrs={"rows": 32, "cols": 110, "spellcheck": "false"}),
        help_text="JSON, or YAML. A document equal to the newest version makes no new one.",
    )
    note = forms.CharField(
        required=False, max_length=500, help_text="What is new in this version.", widget=forms.TextInput({"size": 80})
    )

    def clean_text(self) -> dict[str, Any]:
        """The document. JSON where the text begins like it, YAML otherwise."""
        text = self.cleaned_data["text"]
        media_type = "application/json" if text.lstrip().startswith("{") else "application/yaml"
        try:
            return load_text(text, media_type)
        except UnreadableDocument as error:
            raise forms.ValidationError(error.detail, code=error.code) from None
