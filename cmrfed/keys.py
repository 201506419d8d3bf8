"""The dotted keys of a configuration, as its stages declare them: for the command line, its help and its errors."""

import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Annotated, Any

from omegaconf import MISSING
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from cmrfed.members import OneOf


class _AsWritten:
    """Marks text that means itself."""


AsWritten = Annotated[str, _AsWritten()]
"""A path, or words of the user's own: the command line looks for no syntax in it."""


@dataclass(frozen=True)
class Key:
    """A key by its dotted name, and the field that declares it."""

    name: str
    field: FieldInfo

    @property
    def section(self) -> type[BaseModel] | None:
        """The stage that holds the keys below this one; None for a value."""
        return next((kind for kind in _kinds(self.field.annotation) if _is_stage(kind)), None)

    @property
    def optional(self) -> bool:
        return types.NoneType in _kinds(self.field.annotation)

    @property
    def choices(self) -> tuple[str, ...]:
        """Of a value, or of each value in a list; empty where anything goes."""
        named = [mark.members for mark in _marks(self.field.annotation, self.field.metadata) if isinstance(mark, OneOf)]
        literal = (choice for kind in _kinds(self.field.annotation) for choice in _choices(kind))
        return tuple(dict.fromkeys([*literal, *(name for members in named for name in members)]))

    @property
    def as_written(self) -> bool:
        return any(isinstance(mark, _AsWritten) for mark in _marks(self.field.annotation, self.field.metadata))

    @property
    def default(self) -> Any:
        """As plain values, a section's by its keys; MISSING where a value must be given."""
        if not self.field.is_required():
            return to_jsonable_python(self.field.get_default(call_default_factory=True))
        return defaults_of(self.section) if self.section else MISSING

    @property
    def listed(self) -> bool:
        return any(typing.get_origin(kind) is tuple for kind in _kinds(self.field.annotation))

    def below(self) -> "Iterator[Key]":
        """The keys of this section, one level down; none of a value."""
        if self.section:
            yield from keys_of(self.section, f"{self.name}.")

    def named(self, word: str) -> "Key | None":
        """The key of that name one level down; any name is one where names are the user's own, as of data sets."""
        if self.section:
            return next((key for key in self.below() if key.name == f"{self.name}.{word}"), None)
        values = [typing.get_args(kind)[1] for kind in _kinds(self.field.annotation) if typing.get_origin(kind) is dict]
        return Key(f"{self.name}.{word}", FieldInfo.from_annotation(values[0])) if values else None


def keys_of(stage: type[BaseModel], parents: str = "") -> Iterator[Key]:
    """A stage's own keys, in order."""
    for name, field in stage.model_fields.items():
        yield Key(f"{parents}{name}", field)


def all_keys(keys: Iterable[Key]) -> Iterator[Key]:
    """These keys and all below them, in order."""
    for key in keys:
        yield key
        yield from all_keys(key.below())


def defaults_of(stage: type[BaseModel]) -> dict[str, Any]:
    """Every key's default, by section: what the stage is where nothing is set."""
    return {key.name: key.default for key in keys_of(stage)}


def find_key(stage: type[BaseModel], name: str) -> Key | None:
    """The key of that dotted name; None where the stage has none."""
    first, *words = name.split(".")
    found = next((key for key in keys_of(stage) if key.name == first), None)
    for word in words:
        found = found and found.named(word)
    return found


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known dotted names that somebody who wrote `name` may have meant, the likeliest first; at most three."""
    likeness = {one: like for one in known if (like := _likeness(name, one))}
    close = [one for one, like in likeness.items() if like >= max(likeness.values()) - 0.1]
    return sorted(close, key=lambda one: -likeness[one])[:3]


def _likeness(name: str, known: str) -> float:
    """0 where the last words differ, else up to 1.5: sections weigh less, and may have been left out."""
    (section, _, word), (known_section, _, known_word) = name.lower().rpartition("."), known.lower().rpartition(".")
    words = SequenceMatcher(None, word, known_word).ratio()
    if min(len(word), len(known_word)) > 3 and (word in known_word or known_word in word):
        words = 0.7 + 0.3 * words
    sections = SequenceMatcher(None, section, known_section).ratio() if section else 0.4 * (not known_section)
    return words + sections / 2 if words > _CLOSE else 0.0


_CLOSE = 0.7
"""Of what difflib calls likeness, from 0 to 1."""


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else, itself. Without what Annotated adds."""
    if typing.get_origin(annotation) is Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(kind for member in typing.get_args(annotation) for kind in _kinds(member))
    return (annotation,)


def _is_stage(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _choices(kind: Any) -> tuple[str, ...]:
    if typing.get_origin(kind) is typing.Literal:
        return tuple(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return tuple(choice for member in set(typing.get_args(kind)) for choice in _choices(member))
    return ()


def _marks(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[Any]:
    """What Annotated says of a value, of a union's members, or of a tuple's."""
    yield from metadata
    if typing.get_origin(annotation) is Annotated:
        yield from typing.get_args(annotation)[1:]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple):
        for member in typing.get_args(annotation):
            yield from _marks(member)
