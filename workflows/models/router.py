"""Where each table lives: definitions in a database of their own where one is configured, all else in `default`."""

from typing import Any

from django.conf import settings
from django.db.models import Model

DEFINITIONS_MODELS = frozenset({"definition", "draft", "retirement"})


class DefinitionsRouter:
    """Sends definitions, drafts and retirements to the database `definitions` where `DEFINITIONS_DATABASE_URL` is set.

    No foreign key crosses the two: a job names its definition by workflow and version.
    """

    @staticmethod
    def _alias(model: type[Model]) -> str:
        own = (
            "definitions" in settings.DATABASES
            and model._meta.app_label == "workflows"
            and model._meta.model_name in DEFINITIONS_MODELS
        )
        return "definitions" if own else "default"

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return self._alias(model)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return self._alias(model)

    def allow_relation(self, left: Model, right: Model, **hints: Any) -> bool:
        return self._alias(type(left)) == self._alias(type(right))

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        if "definitions" not in settings.DATABASES:
            return db == "default"
        own = app_label == "workflows" and model_name in DEFINITIONS_MODELS
        return db == ("definitions" if own else "default")
