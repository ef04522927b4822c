"""Docstrings for the reference: overridden methods inherit what they leave out, and brackets are no links."""

import re

import griffe


class Inherited(griffe.Extension):
    """A method shows the docstring of the contract that it overrides, or the arguments and results of it."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Complete the docstrings of every class of the package."""
        for module in _modules(pkg):
            for own in module.classes.values():
                if not own.is_alias:
                    self._complete(own)

    def _complete(self, own: griffe.Class) -> None:
        for name, member in own.members.items():
            if member.is_alias or not (member.is_function or member.is_attribute):
                continue
            contract = next((c.members[name] for c in own.mro() if name in c.members), None)
            if contract is None or not contract.docstring:
                continue
            if not member.docstring:
                member.docstring = contract.docstring
            elif not re.search(r"^(Args|Returns):", member.docstring.value, re.M):
                shared = re.search(r"^(Args|Returns):.*", contract.docstring.value, re.M | re.S)
                member.docstring.value += f"\n\n{shared[0]}" if shared else ""


class Brackets(griffe.Extension):
    """Brackets are units and shapes: every "[" that stands outside of code is escaped."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of one object in place."""
        if obj.docstring:
            # Code between backticks stays as it is.
            parts = re.split(r"(`[^`]*`)", obj.docstring.value)
            parts[::2] = [part.replace("[", r"\[") for part in parts[::2]]
            obj.docstring.value = "".join(parts)


def _modules(module: griffe.Module) -> list[griffe.Module]:
    inner = [m for m in module.modules.values() if not m.is_alias]
    return [module, *(deep for m in inner for deep in _modules(m))]
