"""The OpenCL C dialect: vectors of 2 to 16 lanes, vload and vstore, masks as int vectors.

Input: a `Kernel`; output: a `KernelSource`. On CPUs (PoCL) one work-item walks a contiguous chunk with
16-lane vectors; the printer in emit_c.py decides what is a vector, this module how it is written.

Worked example: Store("y", 16*i + ramp(16), x[16*i + ramp(16)] + 1.0) prints as

    vstore16((vload16(0, x + (i * 16)) + 1.0f), 0, y + (i * 16));
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ftiny.lowering.emit_c import (
    F16,
    F32,
    I32,
    NARROW,
    Access,
    Dialect,
    Printer,
    bare,
    emit_with,
    float_text,
    is_special,
    short_name,
)
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
_INTEGER_BUILTINS = {"minimum": "min", "maximum": "max"}
_BYTES = {**{name: int(code[1]) for code, name in _TYPES.items()}, "vload_half": 4, "vstore_half": 4}
_VECTOR = re.compile(rf"(?<![a-z])({'|'.join(_BYTES)})(2|4|8|16)\b")
_FENCES = {"shared": "barrier(CLK_LOCAL_MEM_FENCE);",
           "global": "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);",
           "device": "mem_fence(CLK_GLOBAL_MEM_FENCE);"}


class OpenCL(Dialect):
    """OpenCL C 1.2, with cl_khr_fp64 where doubles occur."""

    name = "OpenCL"

    def type_name(self, kind: np.dtype, lanes: int) -> str:
        if kind == BOOL:
            return "bool" if lanes == 1 else f"int{lanes}"
        base = _TYPES[f"{kind.kind}{kind.itemsize}"]
        return base if lanes == 1 else f"{base}{lanes}"

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
        return f"(int{lanes})({', '.join(map(str, range(lanes)))})"

    def splat(self, text: str, kind: np.dtype, lanes: int) -> str:
        if kind == BOOL:
            return f"(int{lanes})({bare(text)} ? -1 : 0)"
        return f"({self.type_name(kind, lanes)})({bare(text)})"

    def mask(self, comparison: str, kind: np.dtype, lanes: int) -> str:
        """A vector comparison's result as an int mask."""
        return comparison if kind == BOOL or kind.itemsize == 4 else f"convert_int{lanes}{comparison}"

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
            return _FLOAT_BUILTINS.get(fn)
        if kind.kind in "iu" and kind.itemsize >= 4 and fn in ("population_count", "clz"):
            return "popcount" if fn == "population_count" else "clz"
        return _INTEGER_BUILTINS.get(fn) if kind.kind in "iu" else None

    def special(self, which: str, dimension: int) -> str:
        return f"get_{which}_id({dimension})"

    def shuffle(self, text: str, distance: int) -> str:
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

    def _contiguous(self, access: Access, pointer: str) -> str:
        n, storage = access.lanes, access.storage
        if storage == F16:
            return f"vload_half{n}(0, {pointer})"
        wide = f"vload{n}(0, {pointer})"
        if storage == BFLOAT16:
            return f"as_float{n}(convert_uint{n}({wide}) << 16)"
        return f"(convert_int{n}({wide}) != 0)" if storage == BOOL else wide

    def load(self, printer: Printer, access: Access) -> str:
        if access.form == "scalar":
            text = self.element(access, access.name, access.base)
            return text if access.guard is None else f"({access.guard} ? {text} : {access.other})"
        if access.form == "contiguous" and access.guard_lanes <= 1:
            text = self._contiguous(access, f"{access.name} + {_factor(access.base)}")
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
            params.append(f"{'long' if wide else 'int'}{n} i")
        if guarded:
            arguments += [guard or "", bare(access.other)]
            params += [f"int{n} g", f"{result} other"]
        if name not in printer.helpers:
            lines = [f"    if (all(g)) return {self._contiguous(access, 'p')};"] if contiguous else []
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

    def _put_contiguous(self, access: Access, pointer: str, value: str) -> str:
        n = access.lanes
        if access.storage == F16:
            return f"vstore_half{n}({bare(value)}, 0, {pointer});"
        if access.storage == BOOL:
            value = f"convert_uchar{n}({value} & 1)"  # the mask -1 is stored as 1
        return f"vstore{n}({bare(value)}, 0, {pointer});"

    def store(self, printer: Printer, access: Access, value: str) -> None:
        if access.storage == BFLOAT16:
            value = self.pack(printer, value, BFLOAT16, access.lanes)
        n = access.lanes
        if n == 1 or (access.form == "contiguous" and access.guard_lanes <= 1):
            text = (self._put(access, access.name, access.base, value) if n == 1 else
                    self._put_contiguous(access, f"{access.name} + {_factor(access.base)}", value))
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
        kind = "ushort" if access.storage == BFLOAT16 else self.type_name(access.kind, 1)
        kind = "int" if access.kind == BOOL else kind
        params, arguments = [f"{kind}{n} v"], [bare(value)]
        params.append(f"{pointer} p")
        arguments.append(f"{access.name} + {_factor(access.base)}" if contiguous else access.name)
        if not contiguous:
            params.append(f"{'long' if wide else 'int'}{n} i")
            arguments.append(access.offsets)
        if guarded:
            params.append(f"int{n} g")
            arguments.append(self._mask_text(access, n) or "")
        if name not in printer.helpers:
            lines = [f"    if (all(g)) {{ {self._put_contiguous(access, 'p', 'v')} return; }}"] if contiguous else []
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
                body = (f"    ushort r[{lanes}];\n    vstore_half{n}(x, 0, (half*)r);\n"
                        f"    return {f'vload{n}(0, r)' if lanes > 1 else 'r[0]'};")
            printer.add_helper(name, f"static inline ushort{n} {name}(float{n} x) {{\n{body}\n}}")
        return f"{name}({bare(text)})"

    def unpack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The float whose float16 or bfloat16 bits are `text`."""
        n = str(lanes) if lanes > 1 else ""
        if dtype == BFLOAT16:
            return f"as_float{n}(convert_uint{n}({bare(text)}) << 16)"
        name = f"from_f16{f'x{lanes}' if lanes > 1 else ''}"
        if name not in printer.helpers:
            body = (f"    ushort r[{lanes}];\n    vstore{n}(u, 0, r);\n" if lanes > 1 else "    ushort r[1] = {u};\n")
            printer.add_helper(name, f"static inline float{n} {name}(ushort{n} u) {{\n{body}"
                                     f"    return vload_half{n}(0, (const half*)r);\n}}")
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
    return emit_with(kernel, OpenCL())


def widest_vector(text: str) -> int:
    """The bytes of the widest vector type that a text names: 64 if there is a float16, or a long8."""
    return max((_BYTES[name] * int(lanes) for name, lanes in set(_VECTOR.findall(text))), default=0)
