"""Which door is where."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("departments.api.urls")),
    path("", include("departments.web.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("workflows.api.report_urls")),
    # Last: it answers every path under /api/ that nobody else took.
    path("", include("workflows.api.urls")),
]

handler400 = "workflows.api.problems.handler400"
handler404 = "workflows.api.problems.handler404"
handler500 = "workflows.api.problems.handler500"
