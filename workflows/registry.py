"""From a job type to the plugin that does it: by name, from allow-listed packages, and never more than that."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterable

import jsonschema_rs
from django.conf import settings

from workflows.engine.contract import Plugin
from workflows.models import PluginRegistration

MODULE = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")
CLASS_NAME = re.compile(r"^[A-Z][A-Za-z0-9]*$")
FRESH_SECONDS = 1.0
"""How long a loaded row is trusted before it is read again: a changed configuration is in use after so long."""


class PluginNotFound(Exception):
    """No usable plugin for this job type; the message says what is wrong with it."""


def is_allowed(module: str) -> bool:
    """True where `module` is one of the allow-listed packages, or lies in one."""
    return any(module == package or module.startswith(package + ".") for package in settings.WORKFLOW_PLUGIN_PACKAGES)


def load_class(module: str, class_name: str) -> type[Plugin]:
    """The plugin class of that name. PluginNotFound where it is not allowed, not there, broken, or no plugin."""
    if not MODULE.match(module) or not is_allowed(module):
        packages = ", ".join(settings.WORKFLOW_PLUGIN_PACKAGES)
        raise PluginNotFound(f"The module {module!r} is not in an allowed package ({packages}).")
    if not CLASS_NAME.match(class_name):
        raise PluginNotFound(f"{class_name!r} is not the name of a class.")
    try:
        importlib.invalidate_caches()  # a plugin whose files were added after this process began is found, too
        found = getattr(importlib.import_module(module), class_name, None)
    except (Exception, SystemExit) as error:  # whatever a broken module does at import, it breaks only its own jobs
        raise PluginNotFound(f"The module {module} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Plugin) and is_allowed(found.__module__)):
        raise PluginNotFound(f"{module} has no plugin class {class_name}.")
    return found


def configuration_faults(plugin_class: type[Plugin], configuration: object) -> list[str]:
    """What of a configuration breaks the plugin's schema, as sentences."""
    validator = jsonschema_rs.validator_for(dict(plugin_class.configuration_schema))
    return [
        "configuration" + "".join(f"/{step}" for step in error.instance_path) + f": {error.message}"
        for error in validator.iter_errors(configuration)
    ]


def build(registration: PluginRegistration) -> Plugin:
    """The plugin of one row, configured. PluginNotFound says what is wrong with the row."""
    plugin_class = load_class(registration.module, registration.class_name)
    faults = configuration_faults(plugin_class, registration.configuration)
    if faults:
        raise PluginNotFound(f"The configuration of {registration.job_type} is wrong: " + "; ".join(faults))
    try:
        return plugin_class(registration.configuration)
    except (Exception, SystemExit) as error:
        raise PluginNotFound(
            f"{registration.job_type} cannot be made: {type(error).__name__}: {error}",
        ) from error


def faults_of(registration: PluginRegistration) -> list[str]:
    """Everything wrong with a row, as sentences; empty where its jobs can run. The admin asks this."""
    try:
        plugin = build(registration)
        return list(plugin.check())
    except PluginNotFound as error:
        return [str(error)]
    except Exception as error:
        return [f"Its own check failed: {type(error).__name__}: {error}"]


def known_job_types() -> frozenset[str]:
    """The job types that definitions may name."""
    return frozenset(PluginRegistration.objects.filter(enabled=True).values_list("job_type", flat=True))


class _Loaded:
    """The plugins this process has built, each with the state of the row it was built from."""

    def __init__(self) -> None:
        self.plugins: dict[str, tuple[float, object, Plugin]] = {}

    def get(self, job_type: str) -> Plugin:
        now = time.monotonic()
        known = self.plugins.get(job_type)
        if known and now - known[0] < FRESH_SECONDS:
            return known[2]
        row = PluginRegistration.objects.filter(job_type=job_type, enabled=True).first()
        if row is None:
            self.plugins.pop(job_type, None)
            raise PluginNotFound(f"No enabled plugin is registered for {job_type!r}.")
        stamp = (row.updated_at, row.module, row.class_name)
        plugin = known[2] if known and known[1] == stamp else build(row)
        self.plugins[job_type] = (now, stamp, plugin)
        return plugin

    def forget(self, job_types: Iterable[str] | None = None) -> None:
        for job_type in list(self.plugins) if job_types is None else job_types:
            self.plugins.pop(job_type, None)


_loaded = _Loaded()


def get_plugin(job_type: str) -> Plugin:
    """The configured plugin for a job type. PluginNotFound where there is none that works.

    Rows are read again after a second, so a new or changed registration needs no restart.
    """
    return _loaded.get(job_type)


def forget() -> None:
    """Drop what this process has loaded; the next use reads the table again."""
    _loaded.forget()
