"""Is a log valid by IEEE 1849? The grammar beside this file, and the rules a grammar cannot say.

Written from the standard, apart from the product's writer.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from lxml import etree

GRAMMAR = etree.RelaxNG(etree.parse(Path(__file__).with_name("xes.rng")))
NAMESPACE = "{http://www.xes-standard.org/}"
TYPES = ("string", "date", "int", "float", "boolean", "id")
STANDARD_EXTENSIONS = {
    # prefix: (name, keys at the log, at a trace, at an event)
    "concept": ("Concept", {"name"}, {"name"}, {"name", "instance"}),
    "lifecycle": ("Lifecycle", {"model"}, set(), {"transition", "state"}),
    "time": ("Time", set(), set(), {"timestamp"}),
    "org": ("Organizational", set(), set(), {"resource", "role", "group"}),
    "identity": ("Identity", {"id"}, {"id"}, {"id"}),
}
LEVELS = {"log": 1, "trace": 2, "event": 3}
TRANSITIONS = {
    *("schedule", "assign", "withdraw", "reassign", "start", "suspend", "resume"),
    *("pi_abort", "ate_abort", "complete", "autoskip", "manualskip", "unknown"),
}


def faults_of(content: bytes) -> list[str]:
    """Every breach of the standard in a log, as sentences; empty for a valid one."""
    log = etree.fromstring(content)
    if not GRAMMAR.validate(log):
        return [str(error) for error in GRAMMAR.error_log]
    faults = _extension_faults(log)
    declared = {child.get("prefix") for child in log.iterchildren(f"{NAMESPACE}extension")}
    required = {child.get("scope"): _attributes(child) for child in log.iterchildren(f"{NAMESPACE}global")}
    for classifier in log.iterchildren(f"{NAMESPACE}classifier"):
        scope = classifier.get("scope", "event")
        for key in classifier.get("keys", "").split():
            if key not in {name for name, _, _ in required.get(scope, [])}:
                faults.append(f"The classifier {classifier.get('name')} uses {key}, which is not global.")
    for element in [log, *log.iter(f"{NAMESPACE}trace", f"{NAMESPACE}event")]:
        faults += _component_faults(element, declared, required)
    return faults


def _attributes(element: etree._Element) -> list[tuple[str, str, str]]:
    """(key, type, value) of the attributes of one component."""
    found = []
    for child in element:
        kind = etree.QName(child).localname
        if kind in TYPES:
            found.append((child.get("key", ""), kind, child.get("value", "")))
    return found


def _extension_faults(log: etree._Element) -> list[str]:
    faults = []
    for extension in log.iterchildren(f"{NAMESPACE}extension"):
        prefix = extension.get("prefix", "")
        name = STANDARD_EXTENSIONS.get(prefix, ("",))[0]
        uri = f"http://www.xes-standard.org/{prefix}.xesext"
        if (extension.get("name"), extension.get("uri")) != (name, uri):
            faults.append(f"The extension {prefix} is not declared as the standard has it.")
    return faults


def _component_faults(
    element: etree._Element, declared: set[str | None], required: dict[str | None, list[tuple[str, str, str]]]
) -> list[str]:
    level = etree.QName(element).localname
    attributes = _attributes(element)
    keys = [key for key, _, _ in attributes]
    faults = [f"A {level} has {key} twice." for key in set(keys) if keys.count(key) > 1]
    kinds = {key: kind for key, kind, _ in attributes}
    for key, kind, _ in required.get(level, []):
        if kinds.get(key) != kind:
            faults.append(f"A {level} lacks the global attribute {key} of type {kind}.")
    for key, kind, value in attributes:
        prefix, _, name = key.rpartition(":")
        if prefix and (prefix not in declared or name not in STANDARD_EXTENSIONS[prefix][LEVELS[level]]):
            faults.append(f"A {level} has {key}, which no declared extension knows there.")
        if kind == "date" and not re.search(r"(Z|[+-]\d\d:\d\d)$", value):
            faults.append(f"The time {value} of a {level} has no zone.")
        if kind == "id":
            uuid.UUID(value)
        if key == "lifecycle:transition" and value not in TRANSITIONS:
            faults.append(f"The standard's life cycle has no transition {value}.")
    return faults
