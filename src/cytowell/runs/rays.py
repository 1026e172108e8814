"""The one place that knows Ray: a cluster to share work out on, its own or a given one."""

from __future__ import annotations

import logging
from typing import Any

import ray

from cytowell.errors import RecipeError


def connected(address: str = "") -> Any:
    """Give Ray, connected to the cluster at `address`, or to one started on this machine.

    Raises
    ------
    RecipeError
        If nothing answers there.
    """
    if not ray.is_initialized():
        try:
            ray.init(
                address=address or None,
                include_dashboard=False if not address else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RecipeError(
                f"No Ray cluster answers at {address!r} ({str(error).splitlines()[0]}).",
                "Start one with: ray start --head, or leave --address away.",
            ) from error
    return ray
