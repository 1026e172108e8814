"""From a bundle to calls, without PyTorch."""

from cytowell.runtime.bundle import Bundle, load

__all__ = ["Bundle", "load"]
