"""What TensorRT's own parser says of graphs, in a process of its own: where there is no GPU, TensorRT may end it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...kernels.printable import printable
from ...realtime.runners.trial import run_apart

_LIMIT_S = 120.0
_MOST_CHARACTERS = 200


def parser_verdict(graphs: Sequence[Path]) -> str | None:
    """One line about what TensorRT's parser says of graphs; None where TensorRT is not installed."""
    if importlib.util.find_spec("tensorrt") is None:
        return None
    found = run_apart([sys.executable, "-m", __spec__.name, *map(str, graphs)], _LIMIT_S)
    if isinstance(found, str):
        return f"TensorRT's parser {found}"
    refused = [f"{name} ({printable(reason, _MOST_CHARACTERS)})" for name, reason in found["refused"].items()]
    version = printable(found["version"], 40)
    return f"TensorRT {version} " + (f"refuses {', '.join(refused)}" if refused else "parses every graph")


def _main(graphs: Sequence[str]) -> None:
    tensorrt: Any = importlib.import_module("tensorrt")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    refused = {}
    for graph in graphs:
        # Since version 10 the batch is explicit without a flag.
        parser = tensorrt.OnnxParser(builder.create_network(0), logger)
        if not parser.parse_from_file(graph):
            reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            refused[Path(graph).name] = "; ".join(map(str, reasons)) or "without a reason"
    print(json.dumps({"version": str(tensorrt.__version__), "refused": refused}))


if __name__ == "__main__":
    _main(sys.argv[1:])
