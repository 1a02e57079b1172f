"""The two groups that the product knows, made again after every migration: operators and configurators."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import DEFAULT_DB_ALIAS

from .policy import CONFIGURATORS, OPERATORS

OPERATOR_PERMISSIONS = (
    "operate_job",
    "view_job",
    "view_archivedjob",
    "view_history",
    "view_taskrun",
    "view_definition",
    "view_event",
    "view_message",
)
CONFIGURED = (
    "retention",
    "definition",
    "draft",
    "pluginregistration",
    "department",
    "membership",
    "calendar",
    "schedule",
    "subscription",
    "eventschema",
)


def make_groups(app_config: Any, using: str = DEFAULT_DB_ALIAS, apps: Any = None, **kwargs: Any) -> None:
    """Make the groups and give them their permissions. What an administrator added to them stays.

    Called after the migrations of every application, so that it holds for a database that was emptied too.
    """
    from django.apps import apps as current
    from django.contrib.auth.models import Group, Permission

    if using != DEFAULT_DB_ALIAS or app_config.label not in ("workflows", "departments"):
        return
    # The permissions of this application may not be there yet: who comes first after a migration is not said.
    create_permissions(app_config, using=using, verbosity=0, apps=apps or current)
    labels = Permission.objects.filter(content_type__app_label__in=["workflows", "departments"])
    operators, _ = Group.objects.get_or_create(name=OPERATORS)
    operators.permissions.add(*labels.filter(codename__in=OPERATOR_PERMISSIONS))
    configurators, _ = Group.objects.get_or_create(name=CONFIGURATORS)
    configurators.permissions.add(*labels.filter(content_type__model__in=CONFIGURED))
