"""Reading the environment: refuses nonsense, names the variable, and keeps secrets in files when asked to."""

import os
import secrets
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.FileAwareEnv()
"""Every variable can also be given as NAME_FILE, a path to a file that holds it."""


def whole_number(name: str, default: int, *, least: int, most: int) -> int:
    """The variable as an integer between `least` and `most`; ImproperlyConfigured, with its name, otherwise."""
    text = env.str(name, default=str(default))
    try:
        value = int(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}.") from None
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} must be between {least} and {most}, not {value}.")
    return value


def secret_key(var: Path) -> str:
    """SECRET_KEY from the environment; without one, a key made once and kept in `var/`, readable by the owner alone.

    A made key is right for one machine. Several machines must share one, so they set SECRET_KEY.
    """
    given = env.str("SECRET_KEY", default="")
    if given:
        return str(given)
    path = var / "secret_key"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    var.mkdir(parents=True, exist_ok=True)
    try:
        # O_EXCL: of two processes that start at once, one makes the key and the other reads it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(64))
    return path.read_text(encoding="ascii").strip()
