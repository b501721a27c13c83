"""Denormal numbers counted as zero: as sound dies away they would make every operation many times slower."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

cgutils: Any = untyped_cgutils
_FLUSH_AND_ZERO = 0x8040  # MXCSR: flush to zero, denormals are zero
_FLUSH_ARM = 1 << 24  # FPCR: FZ
_MACHINE = platform.machine().lower()
_IS_X86, _IS_ARM = _MACHINE in ("x86_64", "amd64"), _MACHINE in ("aarch64", "arm64")


def flush_denormals() -> bool:
    """Count denormal numbers as zero in the calling thread, for NumPy, compiled kernels and torch alike.

    The processor keeps this setting for each thread: every thread that computes sound calls it once for itself.

    Returns:
        Whether this processor can do so; where it cannot, nothing has changed.
    """
    if not (_IS_X86 or _IS_ARM):
        return False
    _flush()
    return True


def _flush_code(typing_context: Any) -> Any:
    """Set the bits in the floating-point control register."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def call(name: str, result: Any, *values: Any) -> Any:
            kind = ir.FunctionType(result, [value.type for value in values])
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)

        if _IS_X86:
            register = cgutils.alloca_once(builder, ir.IntType(32))
            pointer = builder.bitcast(register, ir.IntType(8).as_pointer())
            call("llvm.x86.sse.stmxcsr", ir.VoidType(), pointer)
            builder.store(builder.or_(builder.load(register), ir.IntType(32)(_FLUSH_AND_ZERO)), register)
            call("llvm.x86.sse.ldmxcsr", ir.VoidType(), pointer)
        elif _IS_ARM:
            bits = call("llvm.aarch64.get.fpcr", ir.IntType(64))
            call("llvm.aarch64.set.fpcr", ir.VoidType(), builder.or_(bits, ir.IntType(64)(_FLUSH_ARM)))
        return context.get_dummy_value()

    return types.void(), generate


_set_register: Any = intrinsic(_flush_code)


@njit(types.void(), cache=True)
def _flush() -> None:
    _set_register()
