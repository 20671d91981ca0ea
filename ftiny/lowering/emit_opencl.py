"""The OpenCL C dialect: vectors of 2 to 16 lanes, vload and vstore, masks as int vectors.

Input: a `Kernel`; output: a `KernelSource`. On CPUs (PoCL) one work-item walks a contiguous chunk with
16-lane vectors; the printer in emit_c.py decides what is a vector, this module how it is written.

Worked example: Store("y", 16*i + ramp(16), x[16*i + ramp(16)] + 1.0) prints as

    vstore16((vload16(0, x + (i * 16)) + 1.0f), 0, y + (i * 16));
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ftiny.lowering.emit_c import (
    F16,
    F32,
    I32,
    NARROW,
    Printer,
    bare,
    emit_with,
    float_text,
    is_special,
    short_name,
)
from ftiny.lowering.emit_dialect import Access, Dialect
from ftiny.lowering.expr import BFLOAT16, BOOL
from ftiny.lowering.kernel import Atomic, DeclareArray, Kernel
from ftiny.lowering.plan_types import KernelSource

_TYPES = {"i1": "char", "i2": "short", "i4": "int", "i8": "long", "u1": "uchar", "u2": "ushort", "u4": "uint",
          "u8": "ulong", "f4": "float", "f8": "double"}
_SUFFIX = {"i8": "L", "u4": "u", "u8": "UL"}
_FLOAT_BUILTINS = {
    "abs": "fabs", "round": "rint", "trunc": "trunc", "rem": "fmod", "lgamma": "lgamma", "fma": "fma",
    **{f: f for f in ("floor ceil exp exp2 expm1 log log1p log2 sqrt rsqrt cbrt sin cos tan asin acos atan atan2 "
                      "sinh cosh tanh asinh acosh atanh erf erfc pow nextafter").split()}}
_BETTER_DEFINED = {("tanh", F32)}  # in emit_math.py
_INTEGER_BUILTINS = {"minimum": "min", "maximum": "max"}
_BYTES = {name: int(code[1]) for code, name in _TYPES.items()}
_FENCES = {"shared": "barrier(CLK_LOCAL_MEM_FENCE);",
           "global": "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);",
           "device": "mem_fence(CLK_GLOBAL_MEM_FENCE);"}


class OpenCL(Dialect):
    """OpenCL C 1.2, with cl_khr_fp64 where doubles occur. One object prints one kernel.

    `vector_bytes` are those of the widest vector printed so far. Every vector begins as a load, a conversion, a spread
    scalar or a declaration, and each of these asks `vector` for the name of its type.
    """

    name = "OpenCL"

    def __init__(self) -> None:
        self.vector_bytes = 0

    def vector(self, base: str, lanes: int) -> str:
        """The name of a type with so many lanes."""
        if lanes == 1:
            return base
        self.vector_bytes = max(self.vector_bytes, _BYTES[base] * lanes)
        return f"{base}{lanes}"

    def type_name(self, kind: np.dtype, lanes: int) -> str:
        if kind == BOOL:
            return "bool" if lanes == 1 else self.vector("int", lanes)
        return self.vector(_TYPES[f"{kind.kind}{kind.itemsize}"], lanes)

    def storage_name(self, dtype: np.dtype) -> str:
        if dtype == F16:
            return "half"
        if dtype == BFLOAT16:
            return "ushort"
        return "uchar" if dtype == BOOL else self.type_name(dtype, 1)

    def literal(self, value: Any, kind: np.dtype) -> str:
        if kind == BOOL:
            return "true" if value else "false"
        if kind.kind == "f":
            text = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}.get(is_special(value) or "")
            if text is not None:
                return f"({text})" if kind == F32 else f"((double){text})"
            text = float_text(value, kind) + ("f" if kind == F32 else "")
            return f"({text})" if text.startswith("-") else text
        if kind.itemsize < 4:
            return f"(({self.type_name(kind, 1)}){int(value)})"
        if value == np.iinfo(kind).min and value < 0:
            return f"({value + 1}{_SUFFIX.get(kind.str[1:], '')} - 1)"
        text = f"{int(value)}{_SUFFIX.get(kind.str[1:], '')}"
        return f"({text})" if value < 0 else text

    def literal_ramp(self, lanes: int) -> str:
        """0, 1, .. as an int vector."""
        return f"({self.vector('int', lanes)})({', '.join(map(str, range(lanes)))})"

    def splat(self, text: str, kind: np.dtype, lanes: int) -> str:
        if kind == BOOL:
            return f"({self.vector('int', lanes)})({bare(text)} ? -1 : 0)"
        return f"({self.type_name(kind, lanes)})({bare(text)})"

    def mask(self, comparison: str, kind: np.dtype, lanes: int) -> str:
        """A vector comparison's result as an int mask."""
        int_vector = self.vector("int", lanes)
        return comparison if kind == BOOL or kind.itemsize == 4 else f"convert_{int_vector}{comparison}"

    def convert(self, text: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
        name = self.type_name(target, lanes)
        if lanes == 1:
            return f"({text} != 0)" if target == BOOL else f"(({name}){text})"
        if target == BOOL:
            zero = self.literal(0, source)
            return self.mask(f"({text} != {zero})", source, lanes)
        if source == BOOL:
            text = f"({text} & 1)"
            return text if target == I32 else f"convert_{name}({bare(text)})"
        return f"convert_{name}({bare(text)})"

    def reinterpret(self, text: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
        if lanes == 1 and source.kind != "f" and target.kind != "f":
            return f"(({self.type_name(target, 1)}){text})"
        return f"as_{self.type_name(target, lanes)}({bare(text)})"

    def choose(self, condition: str, yes: str, no: str, kind: np.dtype, lanes: int) -> str:
        if kind != BOOL and kind.itemsize != 4:
            signed = self.type_name(np.dtype(f"i{kind.itemsize}"), lanes)
            condition = f"convert_{signed}({bare(condition)})"
        return f"select({bare(no)}, {bare(yes)}, {bare(condition)})"

    def builtin(self, fn: str, kind: np.dtype) -> str | None:
        if kind.kind == "f":
            return None if (fn, kind) in _BETTER_DEFINED else _FLOAT_BUILTINS.get(fn)
        if kind.kind in "iu" and kind.itemsize >= 4 and fn in ("population_count", "clz"):
            return "popcount" if fn == "population_count" else "clz"
        return _INTEGER_BUILTINS.get(fn) if kind.kind in "iu" else None

    def special(self, which: str, dimension: int) -> str:
        return f"get_{which}_id({dimension})"

    def join(self, lanes: list[str], kind: np.dtype) -> str:
        lanes = [f"{x} ? -1 : 0" if kind == BOOL else bare(x) for x in lanes]
        return f"({self.type_name(kind, len(lanes))})({', '.join(lanes)})"

    def lane(self, text: str, number: int, kind: np.dtype) -> str:
        return f"({text}.s{number:x} != 0)" if kind == BOOL else f"{text}.s{number:x}"

    def shuffle(self, how: str, text: str, place: str) -> str:
        raise NotImplementedError("this OpenCL dialect has no warp exchange; schedules ask capabilities.warp first")

    def barrier(self, scope: str) -> str:
        return _FENCES[scope]

    def function_head(self, result: str, name: str, params: str) -> str:
        return f"static inline {result} {name}({params})"

    def array(self, stmt: DeclareArray, name: str) -> str:
        space = "__local " if stmt.scope == "shared" else ""
        return f"{space}{self.storage_name(stmt.dtype)} {name}[{stmt.size}];"

    def pointer(self, dtype: np.dtype, written: bool) -> str:
        return f"__global {'' if written else 'const '}{self.storage_name(dtype)}* restrict"

    def signature(self, kernel: Kernel, printer: Printer) -> str:
        params = []
        for p in kernel.params:
            if p.kind == "scalar":
                params.append(f"const {self.type_name(p.dtype, 1)} {printer.name(p.name)}")
            else:
                params.append(f"{self.pointer(p.dtype, p.written)} {printer.name(p.name)}")
        block = ", ".join(map(str, kernel.block))
        return (f"__kernel __attribute__((reqd_work_group_size({block})))\n"
                f"void {kernel.name}({', '.join(params)})")

    # ----------------------------------------------------------------------------------- memory

    def _pointer(self, access: Access, write: bool = False) -> tuple[str, str]:
        """(pointer type, suffix for helper names) of the memory behind an access."""
        space = {"global": "__global ", "shared": "__local ", "private": ""}[access.space]
        const = "const " if access.space == "global" and access.constant and not write else ""
        suffix = {"global": "", "shared": "_local", "private": "_private"}[access.space] + \
            ("" if const or write else "_mutable")
        return f"{space}{const}{self.storage_name(access.storage)}*", suffix

    def element(self, access: Access, pointer: str, offset: str) -> str:
        """One element, as the access's kind."""
        if access.storage == F16:
            return f"vload_half({bare(offset)}, {pointer})"
        if access.storage == BFLOAT16:
            return f"as_float((uint){pointer}[{bare(offset)}] << 16)"
        text = f"{pointer}[{bare(offset)}]"
        return f"({text} != 0)" if access.storage == BOOL else text

    def _narrow(self, printer: Printer, access: Access, pointer: str, write: bool = False) -> str:
        """The 8 or 16-bit elements at a pointer as one vector, in a packed struct, since it may lie anywhere.

        PoCL's vload and vstore of such elements are element by element in machine code, at half the speed, and its
        vload_half8 and vstore_half8 (until 7.2) crash where the address is no multiple of the vector's size.
        """
        bits = "ushort" if access.storage == F16 else self.storage_name(access.storage)
        vector = self.vector(bits, access.lanes)
        name = f"unaligned_{vector}"
        printer.add_helper(name, f"typedef struct __attribute__((packed)) {{ {vector} v; }} {name};")
        kind = self._pointer(access, write)[0].replace(self.storage_name(access.storage), name)
        return f"(({kind})({pointer}))->v"

    def _contiguous(self, printer: Printer, access: Access, pointer: str) -> str:
        n, storage = access.lanes, access.storage
        vector = self.type_name(access.kind, n)
        if storage.itemsize > 2:
            return f"vload{n}(0, {pointer})"
        elements = self._narrow(printer, access, pointer)
        if storage in NARROW:
            return self.unpack(printer, elements, storage, n)
        return f"(convert_{vector}({elements}) != 0)" if storage == BOOL else elements

    def load(self, printer: Printer, access: Access) -> str:
        if access.form == "scalar":
            text = self.element(access, access.name, access.base)
            return text if access.guard is None else f"({access.guard} ? {text} : {access.other})"
        if access.form == "contiguous" and access.guard_lanes <= 1:
            text = self._contiguous(printer, access, f"{access.name} + {_factor(access.base)}")
            return text if access.guard is None else f"({access.guard} ? {text} : {access.other})"
        return self._load_lanes(printer, access)

    def _load_lanes(self, printer: Printer, access: Access) -> str:
        """Guarded or gathered lanes, through a helper that touches only the lanes that are wanted."""
        n = access.lanes
        pointer, suffix = self._pointer(access)
        contiguous, guarded = access.form == "contiguous", access.guard is not None
        wide = access.wide_offsets and not contiguous
        stem = f"{'load' if contiguous else 'gather'}{'_guarded' if guarded else ''}"
        name = f"{stem}_{_storage_id(access.storage)}{'_long' if wide else ''}x{n}{suffix}"
        result = self.type_name(access.kind, n)
        guard = self._mask_text(access, n)
        arguments = [f"{access.name} + {_factor(access.base)}" if contiguous else access.name]
        params = [f"{pointer} p"]
        if not contiguous:
            arguments.append(access.offsets)
            params.append(f"{self.vector('long' if wide else 'int', n)} i")
        if guarded:
            arguments += [guard or "", bare(access.other)]
            params += [f"{self.vector('int', n)} g", f"{result} other"]
        if name not in printer.helpers:
            lines = [f"    if (all(g)) return {self._contiguous(printer, access, 'p')};"] if contiguous else []
            lanes = []
            for k in range(n):
                value = self.element(access, "p", str(k) if contiguous else f"i.s{k:x}")
                if access.kind == BOOL:
                    value = f"({value} ? -1 : 0)"
                lanes.append(f"g.s{k:x} ? {value} : other.s{k:x}" if guarded else value)
            lines.append(f"    return ({result})({', '.join(lanes)});")
            printer.add_helper(name, f"static inline {result} {name}({', '.join(params)}) {{\n" +
                               "\n".join(lines) + "\n}")
        return f"{name}({', '.join(arguments)})"

    def _mask_text(self, access: Access, lanes: int) -> str | None:
        if access.guard is None:
            return None
        return access.guard if access.guard_lanes == lanes else self.splat(access.guard, BOOL, lanes)

    def _put(self, access: Access, pointer: str, offset: str, value: str) -> str:
        """One scalar store."""
        if access.storage == F16:
            return f"vstore_half({bare(value)}, {bare(offset)}, {pointer});"
        if access.storage == BFLOAT16:
            value = f"(ushort){value}"
        return f"{pointer}[{bare(offset)}] = {bare(value)};"

    def _put_contiguous(self, printer: Printer, access: Access, pointer: str, value: str) -> str:
        n = access.lanes
        if access.storage == F16:
            value = self.pack(printer, value, F16, n)
        if access.storage == BOOL:
            value = f"convert_uchar{n}({value} & 1)"  # the mask -1 is stored as 1
        if access.storage.itemsize > 2:
            return f"vstore{n}({bare(value)}, 0, {pointer});"
        return f"{self._narrow(printer, access, pointer, write=True)} = {bare(value)};"

    def store(self, printer: Printer, access: Access, value: str) -> None:
        if access.storage == BFLOAT16:
            value = self.pack(printer, value, BFLOAT16, access.lanes)
        n = access.lanes
        if n == 1 or (access.form == "contiguous" and access.guard_lanes <= 1):
            text = (self._put(access, access.name, access.base, value) if n == 1 else
                    self._put_contiguous(printer, access, f"{access.name} + {_factor(access.base)}", value))
            printer.line(text if access.guard is None else f"if ({bare(access.guard)}) {text}")
            return
        self._store_lanes(printer, access, value)

    def _store_lanes(self, printer: Printer, access: Access, value: str) -> None:
        n = access.lanes
        pointer, suffix = self._pointer(access, write=True)
        contiguous, guarded = access.form == "contiguous", access.guard is not None
        wide = access.wide_offsets and not contiguous
        stem = f"{'store' if contiguous else 'scatter'}{'_guarded' if guarded else ''}"
        name = f"{stem}_{_storage_id(access.storage)}{'_long' if wide else ''}x{n}{suffix}"
        kind = self.vector("ushort", n) if access.storage == BFLOAT16 else self.type_name(access.kind, n)
        params, arguments = [f"{kind} v"], [bare(value)]
        params.append(f"{pointer} p")
        arguments.append(f"{access.name} + {_factor(access.base)}" if contiguous else access.name)
        if not contiguous:
            params.append(f"{self.vector('long' if wide else 'int', n)} i")
            arguments.append(access.offsets)
        if guarded:
            params.append(f"{self.vector('int', n)} g")
            arguments.append(self._mask_text(access, n) or "")
        if name not in printer.helpers:
            put = self._put_contiguous(printer, access, "p", "v") if contiguous else ""
            lines = [f"    if (all(g)) {{ {put} return; }}"] if contiguous else []
            for k in range(n):
                lane = f"(v.s{k:x} != 0)" if access.kind == BOOL else f"v.s{k:x}"
                put = self._put(access, "p", str(k) if contiguous else f"i.s{k:x}", lane)
                lines.append(f"    if (g.s{k:x}) {put}" if guarded else f"    {put}")
            printer.add_helper(name, f"static inline void {name}({', '.join(params)}) {{\n" +
                               "\n".join(lines) + "\n}")
        printer.line(f"{name}({', '.join(arguments)});")

    # --------------------------------------------------------------------- 16-bit floats as bits

    def pack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The ushort bits of a float rounded to float16 or bfloat16, ties to even."""
        suffix = f"x{lanes}" if lanes > 1 else ""
        n = str(lanes) if lanes > 1 else ""
        stem = "bf16" if dtype == BFLOAT16 else "f16"
        name = f"bits_{stem}{suffix}"
        if name not in printer.helpers:
            if dtype == BFLOAT16:
                nan = ("isnan(x) ? (ushort)0x7fc0 : r" if lanes == 1 else
                       f"select(r, (ushort{n})0x7fc0, convert_short{n}(isnan(x)))")
                body = (f"    uint{n} u = as_uint{n}(x);\n"
                        f"    ushort{n} r = convert_ushort{n}((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);\n"
                        f"    return {nan};")
            else:
                body = f"    ushort{n} r;\n    vstore_half{n}(x, 0, (half*)&r);\n    return r;"
            printer.add_helper(name, f"static inline ushort{n} {name}(float{n} x) {{\n{body}\n}}")
        return f"{name}({bare(text)})"

    def unpack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The float whose float16 or bfloat16 bits are `text`."""
        n = str(lanes) if lanes > 1 else ""
        single = self.type_name(F32, lanes)
        if dtype == BFLOAT16:
            return f"as_{single}(convert_uint{n}({bare(text)}) << 16)"
        name = f"from_f16{f'x{lanes}' if lanes > 1 else ''}"
        if name not in printer.helpers:
            printer.add_helper(name, f"static inline {single} {name}(ushort{n} u) {{\n"
                                     f"    return vload_half{n}(0, (const half*)&u);\n}}")
        return f"{name}({bare(text)})"

    # ---------------------------------------------------------------------------------- atomics

    def atomic(self, printer: Printer, stmt: Atomic, storage: np.dtype, offset: str, value: str) -> str:
        address = f"{printer.name(stmt.buffer)} + {_factor(offset)}"
        if storage.kind in "iu" and storage.itemsize == 4 and stmt.op != "mul":
            fn = {"add": "add", "minimum": "min", "maximum": "max"}[stmt.op]
            return f"atomic_{fn}({address}, {bare(value)})"
        if storage.itemsize < 4 or storage in NARROW:
            raise NotImplementedError(f"no atomic {stmt.op} on {storage} in OpenCL; schedules serialise it instead")
        name, word = f"atomic_{stmt.op}_{short_name(storage)}", "ulong" if storage.itemsize == 8 else "uint"
        if name not in printer.helpers:
            kind = self.type_name(storage, 1)
            step = {"add": "seen + v", "mul": "seen * v", "minimum": "(v < seen || v != v) ? v : seen",
                    "maximum": "(v > seen || v != v) ? v : seen"}[stmt.op]
            put = f"as_{word}(({kind})({step}))"
            exchange = "atom_cmpxchg" if word == "ulong" else "atomic_cmpxchg"
            pragma = ("#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable\n" if word == "ulong" else "")
            printer.add_helper(name, f"{pragma}static inline {kind} {name}(volatile __global {kind}* p, {kind} v) {{\n"
                               f"    {word} old = as_{word}(*p), now;\n    do {{\n        now = old;\n"
                               f"        {kind} seen = as_{kind}(now);\n"
                               f"        old = {exchange}((volatile __global {word}*)p, now, {put});\n"
                               f"    }} while (old != now);\n    return as_{kind}(old);\n}}")
        return f"{name}({address}, {bare(value)})"


def _factor(offset: str) -> str:
    """An offset as it may stand after a plus sign."""
    return offset if offset.isidentifier() or offset.isdigit() else f"({bare(offset)})"


def _storage_id(dtype: np.dtype) -> str:
    return "bf16" if dtype == BFLOAT16 else short_name(dtype)


def emit(kernel: Kernel) -> KernelSource:
    """The OpenCL C source of a kernel."""
    dialect = OpenCL()
    return replace(emit_with(kernel, dialect), vector_bytes=dialect.vector_bytes)
