"""Reads PowerShell scripts as far as it takes to judge them where no PowerShell runs.

The grammar is tree-sitter's. It takes some things that Windows PowerShell 5.1 does not: those are looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from tests.windows.powershell_reference import COMMON, PARAMETERS

_PARSER = Parser(Language(tree_sitter_powershell.language()))

AUTOMATIC = frozenset(
    [
        *(
            "_",
            "ConfirmPreference",
            "env",
            "ErrorActionPreference",
            "ExecutionContext",
            "false",
            "LASTEXITCODE",
            "Matches",
            "null",
            "PID",
            "PSBoundParameters",
        ),
        *("PSCmdlet", "PSCommandPath", "PSScriptRoot", "true", "WhatIfPreference"),
    ]
)
"""Variables that PowerShell sets (about_Automatic_Variables, about_Preference_Variables)."""


@dataclass(frozen=True)
class Command:
    """One command: a cmdlet, function or program, with the parameters that it is given."""

    name: str
    parameters: tuple[str, ...]
    words: tuple[str, ...]
    """Its literal arguments."""
    line: int


class Script:
    """A parsed script."""

    def __init__(self, source: str, loads: Sequence[Script] = ()) -> None:
        self.source = source
        self._loads = loads
        self.root = _PARSER.parse(source.encode()).root_node

    @classmethod
    def read(cls, path: Path, loads: Sequence[Path] = ()) -> Script:
        """Parse a file; LOADS are the ones whose functions it may call."""
        return cls(path.read_text("ascii"), [cls.read(one) for one in loads])

    def nodes(self, *kinds: str) -> list[Node]:
        return [node for node in _walk(self.root) if node.type in kinds]

    def not_for_windows_powershell(self) -> list[str]:
        """Name each place that Windows PowerShell 5.1 refuses."""
        faults = [
            f"line {node.start_point.row + 1}: syntax: {_text(node)[:40]}"
            for node in _walk(self.root)
            if node.type == "ERROR" or node.is_missing
        ]
        faults += [f"line {n.start_point.row + 1}: {n.type} (PowerShell 7)" for n in self.nodes("&&", "||")]
        for node in self.nodes("try_statement"):
            if not {child.type for child in node.children} & {"catch_clauses", "finally_clause"}:
                faults.append(f"line {node.start_point.row + 1}: try without catch or finally")
        ours = {name: names for script in (self, *self._loads) for name, names in script.functions().items()}
        for command in self.commands():
            if command.name.startswith(("$", "(")):
                continue
            known = PARAMETERS.get(command.name, ours.get(command.name))
            if known is None:
                faults.append(f"line {command.line}: {command.name} is no known command")
            else:
                # -WhatIf and -Confirm are there for functions that declare SupportsShouldProcess, as ours do.
                also = {"Confirm", "WhatIf"} if command.name in ours else set()
                faults += [
                    f"line {command.line}: {command.name} has no parameter -{parameter}"
                    for parameter in command.parameters
                    if parameter not in {*known, *COMMON, *also}
                ]
        return faults

    def commands(self) -> list[Command]:
        return [_command(node) for node in self.nodes("command")]

    def functions(self) -> dict[str, list[str]]:
        """Return the script's own functions and their parameters."""
        found = {}
        for node in self.nodes("function_statement"):
            name = next(_text(child) for child in node.children if child.type == "function_name")
            found[name] = [_text(child).lstrip("$") for child in _parameters(node)]
        return found

    def parameters(self) -> list[str]:
        """Return the parameters of the script itself."""
        [*block] = [child for child in self.root.children if child.type == "param_block"]
        return [_text(child).lstrip("$") for node in block for child in _parameters(node)]

    def unset_variables(self) -> set[str]:
        """Name the variables that are read and nowhere set: strict mode ends the script there."""
        names = {_name(node): None for node in self.nodes("variable")}
        assigned = {
            _name(variable)
            for node in self.nodes("left_assignment_expression", "foreach_statement", "script_parameter")
            for variable in _targets(node)
        }
        strings = self.nodes("expandable_string_literal", "expandable_here_string_literal")
        embedded = re.findall(r"(?<!`)\$\{?([A-Za-z_]\w*)", "".join(map(_text, strings)))
        used = {*names, *embedded}
        return {name for name in used if name not in assigned | AUTOMATIC and not name.startswith("env:")}

    def value(self, variable: str) -> str:
        """Return the expression that VARIABLE is first set to."""
        found = re.search(rf"^\s*\${variable} = (.+)$", self.source, re.MULTILINE)
        assert found, variable
        return found[1]

    def help_of(self, function: str | None = None) -> str:
        """Return the comment-based help of a function, or of the script."""
        source = self.source
        if function is not None:
            source = source[source.index(f"function {function} ") :]
        found = re.search(r"<#(.*?)#>", source, re.DOTALL)
        return found[1] if found else ""


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _name(node: Node) -> str:
    return _text(node).lstrip("$@").strip("{}")


def _parameters(node: Node) -> list[Node]:
    """Find the declared parameters below NODE, leaving those of functions inside it aside."""
    declared = []
    for child in node.children:
        if child.type == "script_parameter":
            declared += [part for part in child.children if part.type == "variable"]
        elif child.type != "function_statement":
            declared += _parameters(child)
    return declared


def _targets(node: Node) -> list[Node]:
    if node.type == "left_assignment_expression":
        return [part for part in _walk(node) if part.type == "variable"]
    return [child for child in node.children if child.type == "variable"]


def _command(node: Node) -> Command:
    name = _text(
        node.child_by_field_name("command_name") or node.children[-1 if len(node.children) == 1 else 0]
    )
    if node.children[0].type == "command_invokation_operator":
        name = _text(node.children[1])
    elements = list(_elements(node))
    return Command(
        name=name,
        parameters=tuple(_text(part).lstrip("-") for part in elements if part.type == "command_parameter"),
        words=tuple(_text(part) for part in elements if part.type != "command_parameter"),
        line=node.start_point.row + 1,
    )


def _elements(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type in ("command_elements", "array_literal_expression", "unary_expression"):
            yield from _elements(child)
        elif child.type in ("command_parameter", "generic_token", "string_literal", "variable"):
            yield child
