"""Placeholder until the executor's hooks exist."""


def register() -> None:
    """Register the departments as the parker of `human` and `external` tasks."""
