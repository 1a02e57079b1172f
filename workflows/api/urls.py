"""The paths of the API. Included at the root, after every other application's: the last line takes what is left."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from . import calendars, dead_letters, definitions, documents, events, health, jobs, repairs, subscriptions, versions
from .problems import no_such_endpoint
from .schema import DocsView

v1 = [
    path("jobs/", jobs.JobsView.as_view(), name="jobs"),
    path("jobs/batch/", jobs.JobBatchView.as_view(), name="jobs-batch"),
    path("jobs/<uuid:job_id>/", jobs.JobView.as_view(), name="job"),
    path("jobs/<uuid:job_id>/history/", jobs.JobHistoryView.as_view(), name="job-history"),
    path("jobs/<uuid:job_id>/documents/", documents.JobDocumentsView.as_view(), name="job-documents"),
    path("jobs/<uuid:job_id>/cancel/", repairs.JobCancelView.as_view(), name="job-cancel"),
    path("jobs/<uuid:job_id>/retry/", repairs.JobRetryView.as_view(), name="job-retry"),
    path("jobs/<uuid:job_id>/skip/", repairs.JobSkipView.as_view(), name="job-skip"),
    path("jobs/<uuid:job_id>/restart/", repairs.JobRestartView.as_view(), name="job-restart"),
    path("repairs/", repairs.BulkRepairsView.as_view(), name="repairs"),
    path("repairs/<uuid:bulk_id>/", repairs.BulkRepairView.as_view(), name="repair"),
    path("repairs/<uuid:bulk_id>/start/", repairs.BulkStartView.as_view(), name="repair-start"),
    path("repairs/<uuid:bulk_id>/stop/", repairs.BulkStopView.as_view(), name="repair-stop"),
    path("repairs/<uuid:bulk_id>/items/", repairs.BulkItemsView.as_view(), name="repair-items"),
    path("dead-letters/", dead_letters.DeadLettersView.as_view(), name="dead-letters"),
    path("dead-letters/patterns/", dead_letters.DeadLetterPatternsView.as_view(), name="dead-letter-patterns"),
    path("dead-letters/<slug:fingerprint>/", dead_letters.DeadLetterGroupView.as_view(), name="dead-letter-group"),
    path("calendars/", calendars.CalendarsView.as_view(), name="calendars"),
    path("calendars/<slug:code>/", calendars.CalendarView.as_view(), name="calendar"),
    path("documents/", documents.DocumentsView.as_view(), name="documents"),
    path("documents/<uuid:document_id>/", documents.DocumentView.as_view(), name="document"),
    path("documents/<uuid:document_id>/content/", documents.DocumentContentView.as_view(), name="document-content"),
    path("events/", events.EventsView.as_view(), name="events"),
    path("events/<uuid:event_id>/", events.EventView.as_view(), name="event"),
    path("events/<uuid:event_id>/retry/", events.EventRetryView.as_view(), name="event-retry"),
    path("event-schemas/", subscriptions.EventSchemasView.as_view(), name="event-schemas"),
    path("event-schemas/<str:type>/", subscriptions.EventSchemaView.as_view(), name="event-schema"),
    path("subscriptions/", subscriptions.SubscriptionsView.as_view(), name="subscriptions"),
    path("subscriptions/<slug:name>/", subscriptions.SubscriptionView.as_view(), name="subscription"),
    path("definitions/", definitions.DefinitionsView.as_view(), name="definitions"),
    path("definitions/validate/", definitions.DefinitionValidateView.as_view(), name="definitions-validate"),
    path("definitions/<slug:name>/", definitions.DefinitionView.as_view(), name="definition"),
    path(
        "definitions/<slug:name>/versions/<int:version>/",
        definitions.DefinitionVersionView.as_view(),
        name="definition-version",
    ),
    path(
        "definitions/<slug:name>/versions/<int:version>/retire/",
        versions.DefinitionRetireView.as_view(),
        name="definition-retire",
    ),
    path(
        "definitions/<slug:name>/versions/<int:version>/restore/",
        versions.DefinitionRestoreView.as_view(),
        name="definition-restore",
    ),
    path(
        "definitions/<slug:name>/versions/<int:version>/rollback/",
        versions.DefinitionRollbackView.as_view(),
        name="definition-rollback",
    ),
    path("definitions/<slug:name>/versions/", versions.DefinitionVersionsView.as_view(), name="definition-versions"),
    path("definitions/<slug:name>/diff/", versions.DefinitionDiffView.as_view(), name="definition-diff"),
    path("definitions/<slug:name>/draft/", versions.DefinitionDraftView.as_view(), name="definition-draft"),
    path(
        "definitions/<slug:name>/draft/publish/",
        versions.DefinitionDraftPublishView.as_view(),
        name="definition-draft-publish",
    ),
]

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.MetricsView.as_view(), name="metrics"),
    path("api/v1/", include((v1, "api"))),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(url_name="schema"), name="docs"),
    re_path(r"^api/(?P<path>.*)$", no_such_endpoint),
]
