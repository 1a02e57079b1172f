"""The addresses of the inbox, the sign-in and the way out."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path
from django.views.generic import RedirectView

from . import acts, standing, views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="inbox")),
    path("login/", LoginView.as_view(template_name="login.html", redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("inbox/", views.inbox, name="inbox"),
    path("inbox/changes", views.changes, name="inbox-changes"),
    path("inbox/next/", acts.claim_next, name="inbox-next"),
    path("inbox/items/<uuid:item_id>/", views.item, name="inbox-item"),
    path("inbox/items/<uuid:item_id>/why/", standing.item_why, name="inbox-why"),
    path("inbox/items/<uuid:item_id>/claim/", acts.claim, name="inbox-claim"),
    path("inbox/items/<uuid:item_id>/release/", acts.release, name="inbox-release"),
    path("inbox/items/<uuid:item_id>/comment/", acts.comment, name="inbox-comment"),
    path("inbox/items/<uuid:item_id>/complete/", acts.complete, name="inbox-complete"),
    path("inbox/items/<uuid:item_id>/documents/<uuid:document_id>/", views.document, name="inbox-document"),
]
