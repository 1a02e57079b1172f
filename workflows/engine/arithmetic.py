"""Arithmetic of expressions: integers and fractions mix, and no result outgrows its bounds.

JSON does not tell 3 from 3.0, so `amount * 1.5` has to work whichever of the two arrived. Integers alone stay
integers of 64 bits, and their division truncates, as CEL says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .exceptions import ExpressionError
from .syntax import ARITHMETIC

MAX_STRING = 65_536
MAX_LIST = 1_000
_LIMIT = 2**63


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and not -_LIMIT <= value < _LIMIT:
        raise ExpressionError("The result of the arithmetic does not fit into 64 bits.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError("The result of the arithmetic is not a finite number.")
    return value


def _mismatch(sign: str, left: Any, right: Any) -> ExpressionError:
    return ExpressionError(f"{_kind(left)} {sign} {_kind(right)} has no meaning; convert one of them.")


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "map", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def add(left: Any, right: Any) -> Any:
    """Sum of numbers, strings and lists joined, times moved. Raises ExpressionError for anything else."""
    if _number(left) and _number(right):
        return _bounded(left + right)
    if isinstance(left, str) and isinstance(right, str):
        if len(left) + len(right) > MAX_STRING:
            raise ExpressionError(f"The text would be longer than {MAX_STRING} characters.")
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        if len(left) + len(right) > MAX_LIST:
            raise ExpressionError(f"The list would be longer than {MAX_LIST} items.")
        return left + right
    return _temporal("+", left, right, lambda: left + right)


def subtract(left: Any, right: Any) -> Any:
    """Difference of numbers or of times."""
    if _number(left) and _number(right):
        return _bounded(left - right)
    return _temporal("-", left, right, lambda: left - right)


def _temporal(sign: str, left: Any, right: Any, act: Callable[[], Any]) -> Any:
    plain = (bool, int, float, str, list, dict, bytes, type(None))
    if isinstance(left, plain) or isinstance(right, plain):
        raise _mismatch(sign, left, right)
    try:
        return act()
    except (TypeError, OverflowError):
        raise _mismatch(sign, left, right) from None


def multiply(left: Any, right: Any) -> Any:
    """Product of numbers."""
    if not (_number(left) and _number(right)):
        raise _mismatch("*", left, right)
    return _bounded(left * right)


def divide(left: Any, right: Any) -> Any:
    """Quotient of numbers; of two integers, what is behind the point is cut off."""
    if not (_number(left) and _number(right)):
        raise _mismatch("/", left, right)
    if right == 0:
        raise ExpressionError("Division by zero.")
    if isinstance(left, float) or isinstance(right, float):
        return _bounded(left / right)
    quotient = abs(left) // abs(right)
    return _bounded(quotient if (left < 0) == (right < 0) else -quotient)


def remainder(left: Any, right: Any) -> Any:
    """Remainder of two integers, with the sign of the first."""
    if not (_number(left) and _number(right)) or isinstance(left, float) or isinstance(right, float):
        raise _mismatch("%", left, right)
    if right == 0:
        raise ExpressionError("Division by zero.")
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    ARITHMETIC["+"]: add,
    ARITHMETIC["-"]: subtract,
    ARITHMETIC["*"]: multiply,
    ARITHMETIC["/"]: divide,
    ARITHMETIC["%"]: remainder,
}
