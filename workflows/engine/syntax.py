"""The shape of a CEL expression: read into a tree, so that it can be bounded and rewritten before it runs.

The library that evaluates CEL has no budget of its own and does not mix integers with fractions. Both are settled
here: the tree shows which names an expression reads and how much it can grow, and arithmetic is written back as calls
of functions that the `expressions` module provides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .exceptions import ExpressionSyntaxError

MAX_LENGTH = 2_000
MAX_NESTING = 24
MAX_NODES = 300
MAX_NESTED_MACROS = 2
MAX_MACROS = 6

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
FUNCTIONS = frozenset({"size", "string", "int", "uint", "double", "bool", "timestamp", "duration", "type", "dyn"})
METHODS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "getFullYear", "getMonth", "getDate", "getDayOfMonth"}
    | {"getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
ARITHMETIC = {"+": "num_add", "-": "num_sub", "*": "num_mul", "/": "num_div", "%": "num_mod"}
KEEP, TAKE = "list_keep", "list_take"
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"}
    | {"namespace", "return", "var", "void", "while"}
)
_WORDS = _RESERVED | {"true", "false", "null", "in"}
_PRECEDENCE = {
    **{"||": 1, "&&": 2, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5},
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
}
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>[rR]?(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?|\d+[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>\|\||&&|==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the tree.

    `kind` is literal, name, select, index, call, unary, binary, choice, list, map or macro; `text` is its word: the
    literal as written, the name, the field, the function, the operator, or the macro's name; `variable` is the name a
    macro binds, and `value` the string or integer of a literal that can be a key.
    """

    kind: str
    text: str
    children: tuple[Node, ...] = ()
    variable: str = ""
    value: str | int | None = None
    method: bool = False


def read(text: str) -> Node:
    """The tree of an expression. Raises ExpressionSyntaxError, with the place, where there is none within bounds."""
    if len(text) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"The expression has {len(text)} characters; at most {MAX_LENGTH} are read.")
    reader = _Reader(list(_tokens(text)), text)
    tree = reader.expression()
    reader.end()
    _check_size(tree)
    return tree


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionSyntaxError(f"{text[position]!r} at position {position + 1} is not part of the language.")
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group(), position
        position = match.end()


def _check_size(tree: Node) -> None:
    nodes = macros = 0
    stack = [(tree, 0)]
    while stack:
        node, inside = stack.pop()
        nodes += 1
        if node.kind != "macro":
            stack.extend((child, inside) for child in node.children)
            continue
        macros += 1
        if inside == MAX_NESTED_MACROS:
            raise ExpressionSyntaxError(f"More than {MAX_NESTED_MACROS} of {', '.join(sorted(MACROS))} in one another.")
        stack.append((node.children[0], inside))
        stack.extend((child, inside + 1) for child in node.children[1:])
    if macros > MAX_MACROS:
        raise ExpressionSyntaxError(f"More than {MAX_MACROS} of {', '.join(sorted(MACROS))} in one expression.")
    if nodes > MAX_NODES:
        raise ExpressionSyntaxError(f"The expression has {nodes} parts; at most {MAX_NODES} are read.")


class _Reader:
    """Recursive descent, with binary operators by precedence; `depth` bounds every way to nest."""

    def __init__(self, tokens: list[tuple[str, str, int]], text: str) -> None:
        self.tokens = tokens
        self.text = text
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        """The next sign or word; a string literal is told apart by its kind, so it never looks like one."""
        if self.at >= len(self.tokens):
            return ""
        kind, word, _ = self.tokens[self.at]
        return "string" if kind == "string" else word

    def take(self) -> tuple[str, str, int]:
        if self.at >= len(self.tokens):
            raise ExpressionSyntaxError("The expression ends too early.")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, sign: str) -> None:
        kind, word, position = self.take()
        if word != sign or kind == "string":
            raise ExpressionSyntaxError(f"{sign!r} is expected at position {position + 1}, not {word[:40]!r}.")

    def end(self) -> None:
        if self.at < len(self.tokens):
            _, word, position = self.tokens[self.at]
            raise ExpressionSyntaxError(f"{word[:40]!r} at position {position + 1} is one too many.")

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise ExpressionSyntaxError(f"The expression is nested deeper than {MAX_NESTING}.")
        node = self.binary(1)
        if self.peek() == "?":
            self.take()
            yes = self.expression()
            self.expect(":")
            node = Node("choice", "?", (node, yes, self.expression()))
        self.depth -= 1
        return node

    def binary(self, lowest: int) -> Node:
        left = self.unary()
        while _PRECEDENCE.get(self.peek(), 0) >= lowest:
            _, sign, _ = self.take()
            left = Node("binary", sign, (left, self.binary(_PRECEDENCE[sign] + 1)))
        return left

    def unary(self) -> Node:
        if self.peek() not in ("!", "-"):
            return self.member(self.primary())
        _, sign, _ = self.take()
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise ExpressionSyntaxError(f"The expression is nested deeper than {MAX_NESTING}.")
        node = Node("unary", sign, (self.unary(),))
        self.depth -= 1
        return node

    def member(self, node: Node) -> Node:
        while self.peek() in (".", "["):
            _, sign, _ = self.take()
            if sign == "[":
                key = self.expression()
                self.expect("]")
                node = Node("index", "[", (node, key))
                continue
            kind, field, position = self.take()
            if kind != "name":
                raise ExpressionSyntaxError(f"A field name is expected at position {position + 1}.")
            node = self.call(field, node, position) if self.peek() == "(" else Node("select", field, (node,))
        return node

    def call(self, function: str, target: Node | None, position: int) -> Node:
        self.expect("(")
        arguments = self.sequence(")")
        if target is not None and function in MACROS:
            return self.macro(function, target, arguments, position)
        if target is None and function == "has":
            if len(arguments) != 1 or arguments[0].kind != "select":
                raise ExpressionSyntaxError(f"has() at position {position + 1} takes one name with a field, a.b.")
            return Node("has", "has", tuple(arguments))
        if function not in (FUNCTIONS if target is None else METHODS):
            raise ExpressionSyntaxError(f"There is no function {function}() (position {position + 1}).")
        children = (*((target,) if target is not None else ()), *arguments)
        return Node("call", function, children, method=target is not None)

    def macro(self, name: str, target: Node, arguments: list[Node], position: int) -> Node:
        right_count = len(arguments) == 2 or (name == "map" and len(arguments) == 3)
        if not right_count or arguments[0].kind != "name":
            raise ExpressionSyntaxError(f"{name}() at position {position + 1} takes a variable and an expression.")
        return Node("macro", name, (target, *arguments[1:]), variable=arguments[0].text)

    def sequence(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while self.peek() != closing:
            items.append(self.expression())
            if self.peek() != ",":
                break
            self.take()
        self.expect(closing)
        return items

    def primary(self) -> Node:
        kind, word, position = self.take()
        if kind == "string":
            return Node("literal", word, value=_string(word))
        if kind == "number":
            return Node("literal", word, value=int(word) if word.isdigit() else None)
        if kind == "name":
            return self.word(word, position)
        if word == "(":
            node = self.expression()
            self.expect(")")
            return node
        if word == "[":
            return Node("list", "[", tuple(self.sequence("]")))
        if word == "{":
            return Node("map", "{", tuple(self.entries()))
        raise ExpressionSyntaxError(f"{word!r} at position {position + 1} is not expected here.")

    def word(self, word: str, position: int) -> Node:
        if word in ("true", "false", "null"):
            return Node("literal", word)
        if word in _RESERVED or word == "in":
            raise ExpressionSyntaxError(f"{word!r} at position {position + 1} is a reserved word.")
        if self.peek() == "(":
            return self.call(word, None, position)
        return Node("name", word)

    def entries(self) -> list[Node]:
        items: list[Node] = []
        while self.peek() != "}":
            items.append(self.expression())
            self.expect(":")
            items.append(self.expression())
            if self.peek() != ",":
                break
            self.take()
        self.expect("}")
        return items


def _string(word: str) -> str | None:
    """The text of a literal, or None where escapes make it more than what is between the quotes."""
    if word[0] in "rR":
        return word[2:-1]
    return None if "\\" in word else word[1:-1]


Path = tuple[str | int, ...]


def path_of(node: Node) -> Path | None:
    """`tasks["a-b"].output` as ("tasks", "a-b", "output"); None where the node is no such chain of fixed keys."""
    if node.kind == "name":
        return (node.text,)
    if node.kind == "select":
        above = path_of(node.children[0])
        return None if above is None else (*above, node.text)
    if node.kind == "index" and node.children[1].kind == "literal" and node.children[1].value is not None:
        above = path_of(node.children[0])
        return None if above is None else (*above, node.children[1].value)
    return None


def paths(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The longest chain of each name that the expression reads from outside, in the order they are written."""
    path = path_of(node)
    if path is not None:
        if path[0] not in bound:
            yield path
        return
    if node.kind == "macro":
        yield from paths(node.children[0], bound)
        for child in node.children[1:]:
            yield from paths(child, bound | {node.variable})
        return
    for child in node.children:
        yield from paths(child, bound)


def contains(node: Node, kind: str, text: str | None = None) -> bool:
    """Whether a node of the kind, and with the text, is anywhere in the tree."""
    if node.kind == kind and text in (None, node.text):
        return True
    return any(contains(child, kind, text) for child in node.children)


def comparisons(node: Node) -> Iterator[tuple[Path, str]]:
    """The names that are compared for equality with a text, whichever side each stands on."""
    if node.kind == "binary" and node.text in ("==", "!="):
        left, right = node.children
        for name, literal in ((left, right), (right, left)):
            path = path_of(name)
            if path is not None and literal.kind == "literal" and isinstance(literal.value, str):
                yield path, literal.value
    for child in node.children:
        yield from comparisons(child)


def write(node: Node) -> str:
    """The expression as text again, fully bracketed, with arithmetic as calls of the functions in `ARITHMETIC`."""
    parts = [write(child) for child in node.children]
    if node.kind in ("literal", "name"):
        return node.text
    if node.kind == "select":
        above = _operand(node.children[0], parts[0])
        # A field may be called like a word of the language; the library reads such a name in brackets only.
        return f'{above}["{node.text}"]' if node.text in _WORDS else f"{above}.{node.text}"
    if node.kind == "index":
        return f"{_operand(node.children[0], parts[0])}[{parts[1]}]"
    if node.kind == "unary":
        return f"({node.text}{parts[0]})"
    if node.kind == "binary" and node.text in ARITHMETIC:
        return f"{ARITHMETIC[node.text]}({parts[0]}, {parts[1]})"
    if node.kind == "binary":
        return f"({parts[0]} {node.text} {parts[1]})"
    if node.kind == "choice":
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"
    if node.kind == "list":
        return f"[{', '.join(parts)}]"
    if node.kind == "map":
        return "{" + ", ".join(f"{key}: {value}" for key, value in zip(parts[::2], parts[1::2], strict=True)) + "}"
    if node.kind == "macro":
        return _write_macro(node, parts)
    if node.method:
        return f"{_operand(node.children[0], parts[0])}.{node.text}({', '.join(parts[1:])})"
    return f"{node.text}({', '.join(parts)})"


def _write_macro(node: Node, parts: list[str]) -> str:
    """A macro that makes a list keeps its items with us and makes a list of numbers: the evaluator copies the whole
    list, deep, for every item that it adds."""
    target = _operand(node.children[0], parts[0])
    if node.text not in ("map", "filter"):
        return f"{target}.{node.text}({node.variable}, {parts[1]})"
    condition = f"{parts[1]}, " if node.text == "filter" or len(parts) == 3 else ""
    kept = node.variable if node.text == "filter" else parts[-1]
    return f"{TAKE}({target}.map({node.variable}, {condition}{KEEP}({kept})))"


def _operand(node: Node, text: str) -> str:
    """A number would swallow the dot of a field that follows it."""
    return f"({text})" if node.kind == "literal" else text
