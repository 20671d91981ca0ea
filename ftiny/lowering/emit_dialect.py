"""What a C dialect has to say for itself: types, loads and stores, names of builtins.

Input: nothing; a `Dialect` is what `emit_c.Printer` asks while it prints a kernel. Output: pieces of text. The two
dialects are `emit_opencl.OpenCL` and `emit_cuda.Cuda`:

    Cuda().type_name(np.dtype("float32"), 4)     # 'float4'
    Cuda().special("group", 0)                   # '(int)blockIdx.x'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftiny.lowering.kernel import Atomic, Await, DeclareArray, Kernel, Publish, Stmt, WideLoad, WideStore

if TYPE_CHECKING:
    from ftiny.lowering.emit_c import Printer


class Dialect:
    """What differs between OpenCL C and CUDA C++; the two subclasses fill it in."""

    name: str

    def type_name(self, kind: np.dtype, lanes: int) -> str:
        """C type of a value; a bool vector is an int mask."""
        raise NotImplementedError

    def storage_name(self, dtype: np.dtype) -> str:
        """C type of an element in memory."""
        raise NotImplementedError

    def literal(self, value: float | int | bool, kind: np.dtype) -> str:
        """A constant."""
        raise NotImplementedError

    def splat(self, text: str, kind: np.dtype, lanes: int) -> str:
        """A scalar spread over lanes."""
        raise NotImplementedError

    def convert(self, text: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
        """Value conversion that needs no saturation."""
        raise NotImplementedError

    def reinterpret(self, text: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
        """The same bits as another type of the same size."""
        raise NotImplementedError

    def choose(self, condition: str, yes: str, no: str, kind: np.dtype, lanes: int) -> str:
        """Vector select with a mask; scalars are printed with ?: before this is reached."""
        raise NotImplementedError

    def builtin(self, fn: str, kind: np.dtype) -> str | None:
        """The dialect's own function for `fn`, or None if emit_math must define it."""
        raise NotImplementedError

    def helper(self, op: str, kind: np.dtype, name: str) -> str | None:
        """The text of a helper that is shorter in this dialect than emit_math's definition, if there is one."""
        return None

    def load(self, printer: Printer, access: Access) -> str:
        """Text of a load."""
        raise NotImplementedError

    def store(self, printer: Printer, access: Access, value: str) -> None:
        """Lines of a store."""
        raise NotImplementedError

    def atomic(self, printer: Printer, stmt: Atomic, storage: np.dtype, offset: str, value: str) -> str:
        """Text of an atomic update, an expression whose value is the old content."""
        raise NotImplementedError

    def wide_load(self, printer: Printer, stmt: WideLoad) -> None:
        """Lines of a wide load (CUDA only)."""
        raise NotImplementedError

    def wide_store(self, printer: Printer, stmt: WideStore) -> None:
        """Lines of a wide store (CUDA only)."""
        raise NotImplementedError

    def warp_statement(self, printer: Printer, stmt: Stmt) -> None:
        """Lines of what a warp does together (CUDA only)."""
        raise NotImplementedError

    def special(self, which: str, dimension: int) -> str:
        """Group or local id as an int."""
        raise NotImplementedError

    def shuffle(self, how: str, text: str, place: str) -> str:
        """Exchange between threads of a warp: from where `place` says, 'xor', 'up' or 'from'."""
        raise NotImplementedError

    def join(self, lanes: list[str], kind: np.dtype) -> str:
        """A vector of scalars."""
        raise NotImplementedError

    def lane(self, text: str, number: int, kind: np.dtype) -> str:
        """A lane of a vector."""
        raise NotImplementedError

    def hand_over(self, printer: Printer, stmt: Publish | Await) -> None:
        """Lines of a hand-over from block to block (CUDA only)."""
        raise NotImplementedError

    def literal_ramp(self, lanes: int) -> str:
        """The vector 0, 1, .. lanes-1."""
        raise NotImplementedError

    def mask(self, comparison: str, kind: np.dtype, lanes: int) -> str:
        """A vector comparison of `kind` operands as an int mask."""
        raise NotImplementedError

    def pack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The 16 bits of a float rounded to float16 or bfloat16."""
        raise NotImplementedError

    def unpack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The float whose float16 or bfloat16 bits are `text`."""
        raise NotImplementedError

    def round_to(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """A float rounded to what float16 or bfloat16 can hold, still a float."""
        return self.unpack(printer, self.pack(printer, text, dtype, lanes), dtype, lanes)

    def barrier(self, scope: str) -> str:
        """A barrier or fence statement."""
        raise NotImplementedError

    def signature(self, kernel: Kernel, printer: Printer) -> str:
        """The head of the kernel function, up to and without the brace."""
        raise NotImplementedError

    def function_head(self, result: str, name: str, params: str) -> str:
        """The head of a helper function."""
        raise NotImplementedError

    def pointer(self, dtype: np.dtype, written: bool) -> str:
        """The type of a pointer to global memory."""
        raise NotImplementedError

    def array(self, stmt: DeclareArray, name: str) -> str:
        """Declaration of a private or shared array."""
        raise NotImplementedError


@dataclass(frozen=True)
class Access:
    """One memory access, worked out: where, how wide, and in which of the forms a vector unit knows.

    form: 'scalar', 'contiguous' (lanes at base, base+1, ..) or 'lanes' (each its own offset). `base` is
    the text of the scalar offset (lane 0), `offsets` the text of the vector of offsets (each '' where the
    form has none); `guard` and `other` are texts already as wide as the access.
    """

    name: str
    space: str
    storage: np.dtype
    kind: np.dtype
    lanes: int
    form: str
    base: str
    offsets: str
    guard: str | None
    guard_lanes: int
    other: str
    constant: bool
    wide_offsets: bool
