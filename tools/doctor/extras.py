"""What `altervox doctor` says about optional packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ...kernels.extras import how_to_install, how_to_uninstall
from .check import Check


def onnx_check(has_gpu: bool) -> Check:
    """ONNX Runtime, of which at most one of two packages may be installed.

    The one without CUDA is no fault on a GPU: there the networks run as CUDA graphs.
    """
    installed = {}
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    if len(installed) == 2:
        return Check(
            "onnx runtime",
            "error",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
            f"{how_to_uninstall(*installed)}, then install one of them: {how_to_install('gpu' if has_gpu else 'cpu')}",
        )
    if not installed:
        return Check(
            "onnx runtime",
            "warning",
            "not installed; a block of the default voice takes four times as long on a CPU",
            how_to_install("gpu" if has_gpu else "cpu"),
        )
    from ...realtime.runners.onnx import onnx_providers

    ((package, release),) = installed.items()
    try:
        providers = onnx_providers()
    except ImportError as error:
        return Check("onnx runtime", "error", f"{package} {release} does not load: {error}", f"reinstall {package}")
    return Check("onnx runtime", "ok", f"{package} {release}: {', '.join(providers)}")
