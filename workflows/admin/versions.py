"""Definitions in the admin: versions, what each changed, drafts with their faults beside them, and trying them out."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from workflows import policy
from workflows.engine.difference import Change, differences
from workflows.engine.exceptions import InvalidDefinition
from workflows.intake import drafts, publishing
from workflows.intake.exceptions import DraftChanged, VersionPublished
from workflows.models import BulkRepair, Definition, Draft
from workflows.operations.backtest import backtest
from workflows.operations.exceptions import InvalidRequest
from workflows.operations.migrate import dry_run, live_jobs
from workflows.operations.moving import move_live_jobs
from workflows.operations.simulate import simulate

from .forms import PublishForm, pretty

BACKTESTED = 200


def _as_text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def changes_from(before: Definition | None, document: dict[str, Any]) -> list[Change]:
    """What a document changes over a version; nothing where there is none."""
    return [] if before is None else differences(before.document, document)


class DraftForm(PublishForm):
    """A draft: the document as text, and the revision that was seen."""

    revision = forms.IntegerField(widget=forms.HiddenInput, initial=drafts.NEW)
    over = forms.IntegerField(widget=forms.HiddenInput, required=False)


class TryForm(forms.Form):
    """One input to simulate, with the answers that are given."""

    input = forms.JSONField(initial=dict, required=False, widget=forms.Textarea({"rows": 8, "cols": 80}))
    outcomes = forms.JSONField(
        initial=dict,
        required=False,
        widget=forms.Textarea({"rows": 4, "cols": 80}),
        help_text='By task, one answer for each iteration: {"verify": ["return", "approve"]}. Else the first outcome.',
    )
    now = forms.DateTimeField(required=False, help_text="When it would be submitted; empty: now.")

    def clean_outcomes(self) -> dict[str, Any]:
        """The answers. ValidationError where they are no lists by task."""
        value = {} if self.cleaned_data["outcomes"] is None else self.cleaned_data["outcomes"]
        lists = isinstance(value, dict) and all(isinstance(entries, list) for entries in value.values())
        if not lists or not all(isinstance(entry, str | dict) for entries in value.values() for entry in entries):
            raise forms.ValidationError('This is an object of lists: {"verify": ["approve"]}.')
        return dict(value)


class MoveForm(forms.Form):
    """How live jobs are to be moved."""

    mapping = forms.JSONField(
        initial=dict,
        required=False,
        widget=forms.Textarea({"rows": 4, "cols": 80}),
        help_text='Which task goes on as which, where the names differ: {"check": "verify"}.',
    )
    reason = forms.CharField(required=False, max_length=500, widget=forms.TextInput({"size": 80}))

    def clean_mapping(self) -> dict[str, str]:
        """The mapping. ValidationError where it is none of names to names."""
        value = {} if self.cleaned_data["mapping"] is None else self.cleaned_data["mapping"]
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
            raise forms.ValidationError('This is an object of names: {"check": "verify"}.')
        return dict(value)


@admin.register(Definition)
class DefinitionAdmin(admin.ModelAdmin):
    """Published versions, never changed. Adding one is publishing it."""

    class Media:
        css: ClassVar = {"all": ("workflows/admin.css",)}

    list_display = ("name", "version", "title", "is_open", "published_by", "published_at")
    list_display_links = ("name", "version")
    search_fields = ("name", "title")
    list_filter = ("published_at",)
    fields = (
        *("name", "version", "title", "is_open", "note", "published_by", "published_at", "digest"),
        *("changed", "pretty_document"),
    )
    readonly_fields = fields
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Definition | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Definition | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Definition]:
        rows: QuerySet[Definition] = Definition.objects.with_retired().defer("document")
        return rows.order_by("name", "-version")

    def get_urls(self) -> list[Any]:
        acts = {"retire": self.retire_view, "restore": self.restore_view, "rollback": self.rollback_view}
        return [
            *(
                path(f"<int:pk>/{name}/", self.admin_site.admin_view(require_POST(view)), name=f"workflows_{name}")
                for name, view in acts.items()
            ),
            path("<int:pk>/simulate/", self.admin_site.admin_view(self.simulate_view), name="workflows_simulate"),
            path("<int:pk>/migrate/", self.admin_site.admin_view(self.migrate_view), name="workflows_migrate"),
            path("<int:pk>/backtest/", self.admin_site.admin_view(self.backtest_view), name="workflows_backtest"),
            *super().get_urls(),
        ]

    @admin.display(description="Open to new jobs", boolean=True)
    def is_open(self, definition: Definition) -> bool:
        """Whether a new job may start on it."""
        return not getattr(definition, "retired", False)

    @admin.display(description="Changed")
    def changed(self, definition: Definition) -> SafeString | str:
        """What it changed over the version before it, in words."""
        before = Definition.objects.filter(name=definition.name, version=definition.version - 1).first()
        sentences = [(change.sentence,) for change in changes_from(before, definition.document)]
        return format_html_join("", "<div>{}</div>", sentences) or "-"

    @admin.display(description="Document")
    def pretty_document(self, definition: Definition) -> SafeString | str:
        """The document, indented."""
        return pretty(definition.document)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **named: Any) -> Any:
        context["may_publish"] = self.has_add_permission(request)
        context["may_operate"] = policy.may_operate(request.user)
        return super().render_change_form(request, context, *args, **named)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Publish a document that is written, or pasted, as text. Check says what it would change."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        found: list[Any] = []
        changes: list[Change] = []
        form = PublishForm(request.POST or None, initial=self._initial(request))
        if request.method == "POST" and form.is_valid():
            document = form.cleaned_data["text"]
            found = publishing.faults(document)
            if "_check" in request.POST and not found:
                changes = changes_from(Definition.objects.newest(document["name"]), document)
                self.message_user(request, "The document has no fault. Nothing was published yet.", messages.SUCCESS)
            elif not found:
                return self._publish(request, document, form.cleaned_data["note"])
        context = {
            **self.admin_site.each_context(request),
            **{"title": "Publish a definition", "form": form, "faults": found, "changes": changes, "opts": self.opts},
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/workflows/definition/publish.html", context)

    def _initial(self, request: HttpRequest) -> dict[str, str]:
        """The document of the version that is to be followed, where one is named."""
        definition = named_source(request)
        return {"text": _as_text(definition.document)} if definition else {}

    def _publish(self, request: HttpRequest, document: dict[str, Any], note: str) -> HttpResponse:
        published = publishing.publish(document, published_by=request.user.get_username(), note=note)
        return tell_published(self, request, published)

    # ---- what becomes of a version ----

    def _configured(self, request: HttpRequest, pk: int) -> Definition:
        if not policy.may_configure(request.user):
            raise PermissionDenied
        return get_object_or_404(Definition, pk=pk)

    def retire_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The Retire button."""
        definition = self._configured(request, pk)
        if drafts.retire(definition.name, definition.version, by=request.user.get_username()):
            self.log_change(request, definition, "Retired.")
        self.message_user(request, f"No new job starts on {definition}.", messages.SUCCESS)
        return _page_of(definition)

    def restore_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The Restore button."""
        definition = self._configured(request, pk)
        if drafts.restore(definition.name, definition.version, by=request.user.get_username()):
            self.log_change(request, definition, "Restored.")
        self.message_user(request, f"Jobs may start on {definition} again.", messages.SUCCESS)
        return _page_of(definition)

    def rollback_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The Roll back button: this document once more, as the next version."""
        definition = self._configured(request, pk)
        try:
            published = drafts.roll_back(definition.name, definition.version, by=request.user.get_username())
        except InvalidDefinition as error:
            self.message_user(request, f"It can no longer be published: {error}", messages.ERROR)
            return _page_of(definition)
        return tell_published(self, request, published)

    # ---- trying it ----

    def simulate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Walk one input through this version, and show the way."""
        definition = self._configured(request, pk)
        form = TryForm(request.POST or None)
        done, faults = None, []
        if request.method == "POST" and form.is_valid():
            values = form.cleaned_data
            given = {} if values["input"] is None else values["input"]
            options = {"version": definition.version, "outcomes": values["outcomes"], "now": values["now"]}
            try:
                done = simulate(definition.name, given, **options)
            except InvalidRequest as error:
                faults = list(error.faults)
        return self._tried(request, definition, "simulate", {"form": form, "done": done, "faults": faults})

    def backtest_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Run this version over the newest past jobs that the user may see."""
        definition = self._configured(request, pk)
        jobs = policy.visible_jobs(request.user)
        done = backtest(definition.name, jobs, version=definition.version, limit=BACKTESTED)
        return self._tried(request, definition, "backtest", {"done": done})

    def migrate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What moving all live jobs of the workflow to this version would do; on the second button it is done."""
        if not policy.may_operate(request.user):
            raise PermissionDenied
        definition = get_object_or_404(Definition, pk=pk)
        name, to = definition.name, definition.version
        form = MoveForm(request.POST or None)
        done, moved, faults = None, None, []
        mapping = form.cleaned_data["mapping"] if form.is_bound and form.is_valid() else {}
        try:
            if "_move" in request.POST and form.is_valid():
                reason = form.cleaned_data["reason"]
                moved = move_live_jobs(name, to, mapping, requested_by=request.user, reason=reason)
                if isinstance(moved, BulkRepair):
                    return HttpResponseRedirect(reverse("admin:workflows_bulkrepair_change", args=[moved.pk]))
                self.message_user(request, f"{moved.moved} of {moved.total} jobs were moved.", messages.SUCCESS)
            done = dry_run(name, to, mapping, live_jobs(name, to))
        except InvalidRequest as error:
            faults = list(error.faults)
        return self._tried(
            request, definition, "migrate", {"form": form, "done": done, "moved": moved, "faults": faults}
        )

    def _tried(
        self, request: HttpRequest, definition: Definition, what: str, found: dict[str, Any]
    ) -> TemplateResponse:
        titles = {"simulate": "Simulate", "backtest": "Past jobs on", "migrate": "Move live jobs to"}
        title = f"{titles[what]} {definition}"
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "original": definition}
        return TemplateResponse(request, f"admin/workflows/definition/{what}.html", {**context, **found})


@admin.register(Draft)
class DraftAdmin(admin.ModelAdmin):
    """Documents that somebody is still working on. Faults are shown beside them, and keep nobody from saving."""

    list_display = ("name", "based_on", "revision", "updated_by", "updated_at")
    search_fields = ("name",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return policy.may_configure(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Draft | None = None) -> bool:
        return policy.may_configure(request.user)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission

    def get_queryset(self, request: HttpRequest) -> QuerySet[Draft]:
        return super().get_queryset(request).defer("document")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Begin a draft: from nothing, or from a version (`?from=`). Where there is one already, it is opened."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        source = named_source(request)
        existing = Draft.objects.filter(name=source.name).first() if source else None
        if existing is not None:
            return HttpResponseRedirect(reverse("admin:workflows_draft_change", args=[existing.pk]))
        initial = {} if source is None else {"text": _as_text(source.document), "over": source.version}
        return self._edit(request, None, initial)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Go on with a draft: save it, publish it, or see what publishing would change."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        draft = Draft.objects.filter(pk=int(object_id)).first() if object_id.isdigit() and len(object_id) < 19 else None
        if draft is None:
            self.message_user(request, "This draft was published or discarded.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:workflows_draft_changelist"))
        return self._edit(
            request, draft, {"text": _as_text(draft.document), "note": draft.note, "revision": draft.revision}
        )

    def _edit(self, request: HttpRequest, draft: Draft | None, initial: dict[str, Any]) -> HttpResponse:
        form = DraftForm(request.POST or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            saved = self._save(request, draft, form)
            if saved is not None:
                return saved
        document = draft.document if draft is not None and request.method != "POST" else None
        if document is None and form.is_bound and form.is_valid():
            document = form.cleaned_data["text"]
        newest = Definition.objects.newest(draft.name) if draft is not None else None
        context = {
            **self.admin_site.each_context(request),
            "title": f"Draft of {draft.name}" if draft else "New draft",
            "opts": self.opts,
            "original": draft,
            "form": form,
            "faults": drafts.draft_faults(draft.name, document) if draft is not None and document is not None else (),
            "newest": newest,
            "overtaken": draft is not None and newest is not None and newest.version > draft.based_on,
            "changes": changes_from(newest, document) if isinstance(document, dict) else [],
        }
        return TemplateResponse(request, "admin/workflows/draft/edit.html", context)

    def _save(self, request: HttpRequest, draft: Draft | None, form: DraftForm) -> HttpResponse | None:
        """Save, and publish where that was asked for; None where the form is to be shown again."""
        values, by = form.cleaned_data, request.user.get_username()
        name = draft.name if draft is not None else values["text"].get("name")
        if not isinstance(name, str) or not name or len(name) > 100:
            form.add_error("text", "A draft needs a name.")
            return None
        try:
            saved = drafts.save_draft(
                name,
                values["text"],
                revision=values["revision"],
                by=by,
                note=values["note"],
                based_on=self._over(request, name, values),
            )
            if "_publish" in request.POST:
                published = drafts.publish_draft(name, revision=saved.draft.revision, by=by)
                return tell_published(self, request, published)
        except InvalidDefinition:
            # Saved it is; its faults are on the page that comes.
            self.message_user(request, "It has faults and was not published.", messages.ERROR)
        except VersionPublished as error:
            self.message_user(request, str(error), messages.ERROR)
        except DraftChanged as error:
            form.add_error(None, str(error))
            return None
        kept = Draft.objects.filter(name=name).first()
        if kept is None:
            form.add_error("text", "This cannot be kept.")
            return None
        if "_publish" not in request.POST:
            self.message_user(request, f"Saved. {len(saved.faults) or 'No'} faults.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:workflows_draft_change", args=[kept.pk]))

    def _over(self, request: HttpRequest, name: str, values: dict[str, Any]) -> int | None:
        """Over which version it is meant: the newest, where the user has seen what that one changed."""
        if "_over_newest" in request.POST:
            newest = Definition.objects.newest(name)
            return newest.version if newest else 0
        over: int | None = values["over"]
        return over


def named_source(request: HttpRequest) -> Definition | None:
    """The version that `?from=` names by its row."""
    source = request.GET.get("from", "")
    if not (source.isascii() and source.isdigit() and len(source) < 19):
        return None
    return Definition.objects.filter(pk=int(source)).first()


def tell_published(page: admin.ModelAdmin, request: HttpRequest, published: publishing.Published) -> HttpResponse:
    """Say what was published, keep it in the log, and show it."""
    definition = published.definition
    if published.created:
        page.log_addition(request, definition, [{"added": {}}])
        page.message_user(request, f"{definition} is published.", messages.SUCCESS)
    else:
        page.message_user(request, f"The document equals {definition}: nothing was published.", messages.WARNING)
    return _page_of(definition)


def _page_of(definition: Definition) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:workflows_definition_change", args=[definition.pk]))
