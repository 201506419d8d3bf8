"""Shapes in the signatures of cmrfed are checked as its code runs, at a price that only functions with arrays pay.

jaxtyping's hook wraps every function, and a nested one anew at each call of the function around it; both together made
the phantom four times as slow. Here a function without arrays is checked by beartype alone, and a nested one by nobody
but mypy. Of one with arrays, the hook would check the arguments twice, the second time together with the result; here
beartype checks each once, as the function is called and as it returns.

While the hook runs a module it has Python look for bytecode under another name, also for all that the module imports,
so that torch, MONAI and SciPy were compiled anew in every process of the tests: eleven seconds. Here the other name is
for the module's own code alone.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any, get_args
from unittest import mock

import jaxtyping
from jaxtyping import AbstractArray, _import_hook, install_import_hook

Typechecker = Callable[[Any], Any]
_check_shapes = jaxtyping.jaxtyped
_AXES = jaxtyping.jaxtyped("context")
"""Within, axes of one name are of one length."""


def install() -> None:
    """From here on, modules of cmrfed are imported with their checks."""
    jaxtyping.jaxtyped = checked  # what the hook writes above each function and class
    _import_hook._JaxtypingLoader = _Loader
    install_import_hook("cmrfed", "beartype.beartype")


class _Loader(_import_hook._JaxtypingLoader):
    """Reads a module's code as the hook does, and runs it as everybody does."""

    def exec_module(self, module: ModuleType) -> None:
        cached = partial(_import_hook._optimized_cache_from_source, self._typechecker.get_hash())
        with mock.patch("importlib._bootstrap_external.cache_from_source", cached):
            code = self.get_code(module.__name__)
        exec(code, module.__dict__)


def checked(*, typechecker: Typechecker) -> Typechecker:
    def decorate(definition: Any) -> Any:
        if inspect.isclass(definition):
            if dataclasses.is_dataclass(definition):
                definition.__init__ = decorate(definition.__init__)
            return definition
        annotations = definition.__annotations__.values()
        if any(isinstance(annotation, str) for annotation in annotations):  # may name what only editors import
            return _check_shapes(definition, typechecker=typechecker)
        if any(map(_has_arrays, annotations)):
            return _with_axes(definition, typechecker(definition))
        return definition if "<locals>" in definition.__qualname__ else typechecker(definition)

    return decorate


def _with_axes(definition: Callable[..., Any], checked_alone: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(definition)
    def call(*arguments: Any, **named: Any) -> Any:
        with _AXES:
            return checked_alone(*arguments, **named)

    return call


def _has_arrays(annotation: Any) -> bool:
    """True for a shape anywhere in it."""
    if isinstance(annotation, list):  # the arguments of a Callable
        return any(map(_has_arrays, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_has_arrays, get_args(annotation)))
