"""Ways to run a network. Only this module imports ONNX Runtime."""

from __future__ import annotations


def onnx_providers() -> list[str]:
    """Execution providers of the ONNX Runtime that is installed, best first.

    Raises:
        ImportError: there is none, or it does not load.
    """
    import onnxruntime

    return list(onnxruntime.get_available_providers())
