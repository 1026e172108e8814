"""What a training calls while it runs: a laboratory's own callbacks, and loggers.

A callback is any object that has some of the methods `HOOKS`; no base class is needed. Its package
names a class, or a function without arguments that gives the object, as an entry point::

    [project.entry-points."cytowell.callbacks"]
    telegram = "our_package.training:Telegram"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cytowell import registry
from cytowell.errors import CytowellError, RecipeError
from cytowell.learners.contract import StopTraining

HOOKS = ("on_train_start", "on_train_batch_end", "on_validation_end", "on_train_end", "close")
"""By name: at the start, with `settings` (a table), `classes` and `step`; after each step, with
`step`, `loss` and `rate`; after each answer of the validation part, with `point` (a `Curve`), where
`StopTraining` may be raised; when all is learnt, with `curve`; and last, even after an error or
Ctrl-C, with nothing."""


@dataclass(frozen=True)
class Callbacks:
    """Callbacks with the names that they were asked for by, in their order."""

    named: tuple[tuple[str, Any], ...] = ()

    def call(self, hook: str, **given: Any) -> bool:
        """Call a hook of each that has it; say whether one asked to end the training.

        Raises
        ------
        RecipeError
            Naming the callback that failed.
        """
        ends = False
        for name, callback in self.named:
            method = getattr(callback, hook, None)
            if method is None:
                continue
            try:
                method(**given)
            except StopTraining:
                ends = True
            except CytowellError:
                raise
            except Exception as error:  # another package's, which may raise what it likes
                raise RecipeError(
                    f"The callback {name!r} failed in {hook} ({type(error).__name__}: {error}).",
                    "Mend it, or leave it out; then use --resume.",
                ) from error
        return ends


def made(names: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Make the callbacks of these names.

    Raises
    ------
    UnknownName
        With the nearest name.
    RecipeError
        If one cannot be made without arguments.
    """
    found = []
    for name in names:
        part = registry.load("callbacks", name)
        try:
            found.append((name, part()))
        except Exception as error:
            raise RecipeError(
                f"The callback {name!r} cannot be made ({type(error).__name__}: {error}).",
                "It is called without arguments and gives an object with hooks.",
            ) from error
    return tuple(found)
