"""The CUDA C++ dialect: scalar threads, 16-byte accesses where four neighbours are wanted.

Input: a `Kernel`; output: a `KernelSource` that NVRTC compiles with no include at all (headers cost
more time than the kernels). CUDA has no vector arithmetic, so vectors are first taken apart into lanes
(`scalarise`): what is left are scalars, and `Wide` accesses, each 16 bytes (8 for two lanes).

Worked example: Store("y", 4*i + ramp(4), x[4*i + ramp(4)] + 1.0) becomes

    const float4 v0 = *(const float4*)(x + (i * 4));
    *(float4*)(y + (i * 4)) = make_float4(v0.x + 1.0f, v0.y + 1.0f, v0.z + 1.0f, v0.w + 1.0f);
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ftiny.lowering.device import STATIC_SHARED
from ftiny.lowering.emit_c import (
    F32,
    F64,
    NARROW,
    Printer,
    bare,
    emit_with,
    float_text,
    is_special,
    shared_bytes,
    shared_size,
    short_name,
)
from ftiny.lowering.emit_cuda_lanes import scalarise
from ftiny.lowering.emit_dialect import Access, Dialect
from ftiny.lowering.expr import BFLOAT16, BOOL
from ftiny.lowering.index import simplify
from ftiny.lowering.kernel import (
    MULTIPLY_DEPTH,
    Atomic,
    Await,
    CopyAsync,
    CopyGroup,
    DeclareArray,
    Kernel,
    LoadMatrix,
    MatrixMultiply,
    Publish,
    Stmt,
    WideLoad,
    WideStore,
)
from ftiny.lowering.plan_types import KernelSource

_TYPES = {"i1": "signed char", "i2": "short", "i4": "int", "i8": "long long", "u1": "unsigned char",
          "u2": "unsigned short", "u4": "unsigned int", "u8": "unsigned long long", "f4": "float", "f8": "double"}
_SUFFIX = {"i8": "LL", "u4": "u", "u8": "ULL"}
_SPECIAL = {F32: {"inf": "__int_as_float(0x7f800000)", "-inf": "__int_as_float(0xff800000)",
                  "nan": "__int_as_float(0x7fc00000)"},
            F64: {"inf": "__longlong_as_double(0x7ff0000000000000LL)",
                  "-inf": "__longlong_as_double(0xfff0000000000000ULL)",
                  "nan": "__longlong_as_double(0x7ff8000000000000LL)"}}
_FLOAT_BUILTINS = {
    "abs": "fabs", "round": "rint", "rem": "fmod",
    **{f: f for f in ("floor ceil trunc exp exp2 expm1 log log1p log2 sqrt rsqrt cbrt sin cos tan asin acos atan atan2 "
                      "sinh cosh tanh asinh acosh atanh erf erfc erfinv lgamma pow nextafter fma").split()}}
_BITS = {("f4", "i4"): "__float_as_int", ("f4", "u4"): "__float_as_uint", ("i4", "f4"): "__int_as_float",
         ("u4", "f4"): "__uint_as_float", ("f8", "i8"): "__double_as_longlong", ("i8", "f8"): "__longlong_as_double"}


_COPY = """static __device__ __forceinline__ void copy_16(void* to, const void* from, bool inside) {
    unsigned int address = (unsigned int)__cvta_generic_to_shared(to);
    int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(address), "l"(from), "r"(bytes) : "memory");
}"""
_LOAD_MATRICES = """static __device__ __forceinline__ void {name}(unsigned int* w, const void* row) {{
    unsigned int address = (unsigned int)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%0, %1, %2, %3}}, [%4];"
                 : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3]) : "r"(address) : "memory");
}}"""
_MULTIPLY = """static __device__ __forceinline__
void multiply_{kind}(float* s, const unsigned int* a, const unsigned int* b) {{
    asm volatile("mma.sync.aligned.m16n8k{depth}.row.col.f32.{kind}.{kind}.f32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, "
                 "{{%8, %9}}, {{%0, %1, %2, %3}};" : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}}"""


class Cuda(Dialect):
    """CUDA C++ for NVRTC; expressions have one lane by the time this prints them."""

    name = "CUDA"

    def __init__(self, dynamic: bool = False) -> None:
        self.dynamic, self.used = dynamic, 0

    def type_name(self, kind: np.dtype, lanes: int) -> str:
        base = "bool" if kind == BOOL else _TYPES[f"{kind.kind}{kind.itemsize}"]
        return base if lanes == 1 else f"{base.replace('unsigned ', 'u').replace(' ', '')}{lanes}"

    def storage_name(self, dtype: np.dtype) -> str:
        if dtype in NARROW:
            return "unsigned short"
        return "unsigned char" if dtype == BOOL else self.type_name(dtype, 1)

    def literal(self, value: Any, kind: np.dtype) -> str:
        if kind == BOOL:
            return "true" if value else "false"
        if kind.kind == "f":
            special = is_special(value)
            if special is not None:
                return _SPECIAL[kind][special]
            text = float_text(value, kind) + ("f" if kind == F32 else "")
            return f"({text})" if text.startswith("-") else text
        if kind.itemsize < 4:
            return f"(({self.type_name(kind, 1)}){int(value)})"
        suffix = _SUFFIX.get(kind.str[1:], "")
        if value < 0 and value == np.iinfo(kind).min:
            return f"({value + 1}{suffix} - 1)"
        return f"({value}{suffix})" if value < 0 else f"{value}{suffix}"

    def splat(self, text: str, kind: np.dtype, lanes: int) -> str:
        raise AssertionError("vectors are taken apart before CUDA is printed")

    def convert(self, text: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
        return f"({text} != 0)" if target == BOOL else f"(({self.type_name(target, 1)}){text})"

    def reinterpret(self, text: str, source: np.dtype, target: np.dtype, lanes: int) -> str:
        here, there = source.str[1:], target.str[1:]
        if source.kind != "f" and target.kind != "f":
            return f"(({self.type_name(target, 1)}){text})"
        if (here, there) in _BITS:
            return f"{_BITS[here, there]}({bare(text)})"
        if target.kind == "f":
            return f"__longlong_as_double((long long){text})"
        return f"((unsigned long long)__double_as_longlong({bare(text)}))"

    def builtin(self, fn: str, kind: np.dtype) -> str | None:
        if kind.kind == "f":
            own = _FLOAT_BUILTINS.get(fn)
            return own if own is None or kind == F64 else own + "f"
        if kind.kind in "iu" and kind.itemsize >= 4 and fn in ("population_count", "clz"):
            return ("__popc" if fn == "population_count" else "__clz") + ("ll" if kind.itemsize == 8 else "")
        return {"minimum": "min", "maximum": "max"}.get(fn) if kind.kind in "iu" else None

    def helper(self, op: str, kind: np.dtype, name: str) -> str | None:
        """The larger or smaller of two floats, NaN if either is: one instruction since compute capability 8.0."""
        if kind != F32 or op not in ("minimum", "maximum"):
            return None
        head = self.function_head("float", name, "float x, float y")
        return (f"{head} {{\n#if __CUDA_ARCH__ >= 800\n    float r;\n"
                f'    asm("{op[:3]}.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(y));\n    return r;\n'
                f"#else\n    return x {'<' if op == 'minimum' else '>'} y || x != x ? x : y;\n#endif\n}}")

    def special(self, which: str, dimension: int) -> str:
        return f"(int){'blockIdx' if which == 'group' else 'threadIdx'}.{'xyz'[dimension]}"

    def shuffle(self, how: str, text: str, place: str) -> str:
        function = {"xor": "__shfl_xor_sync", "up": "__shfl_up_sync", "from": "__shfl_sync"}[how]
        return f"{function}(0xffffffffu, {bare(text)}, {place})"

    def hand_over(self, printer: Printer, stmt: Publish | Await) -> None:
        address, value = f"{printer.name(stmt.buffer)} + {printer.text(stmt.offset)}", printer.text(stmt.value)
        head = "static __device__ __forceinline__"
        if isinstance(stmt, Publish):
            body = 'asm volatile("st.release.gpu.global.s32 [%0], %1;" :: "l"(p), "r"(v) : "memory");'
            printer.add_helper("publish", f"{head} void publish(int* p, int v) {{\n    {body}\n}}")
            printer.line(f"publish({address}, {bare(value)});")
            return
        printer.add_helper("seen", f"{head} int seen(const int* p) {{\n    int v;\n"
                           '    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");\n'
                           "    return v;\n}")
        printer.line(f"while (seen({address}) != {value}) {{}}")

    def barrier(self, scope: str) -> str:
        return "__threadfence();" if scope == "device" else "__syncthreads();"

    def function_head(self, result: str, name: str, params: str) -> str:
        return f"static __device__ __forceinline__ {result} {name}({params})"

    def array(self, stmt: DeclareArray, name: str) -> str:
        storage = self.storage_name(stmt.dtype)
        if stmt.scope != "shared" or not self.dynamic:
            space = "__shared__ __align__(16) " if stmt.scope == "shared" else ""
            return f"{space}{storage} {name}[{stmt.size}];"
        first = "" if self.used else "extern __shared__ __align__(16) unsigned char shared_memory[];\n    "
        start, self.used = self.used, self.used + shared_size(stmt)
        return f"{first}{storage}* const {name} = ({storage}*)(shared_memory + {start});"

    def pointer(self, dtype: np.dtype, written: bool) -> str:
        return f"{'' if written else 'const '}{self.storage_name(dtype)}* __restrict__"

    def signature(self, kernel: Kernel, printer: Printer) -> str:
        params = []
        for p in kernel.params:
            if p.kind == "scalar":
                params.append(f"const {self.type_name(p.dtype, 1)} {printer.name(p.name)}")
            else:
                params.append(f"{self.pointer(p.dtype, p.written)} {printer.name(p.name)}")
        threads = kernel.block[0] * kernel.block[1] * kernel.block[2]
        return f'extern "C" __global__ void __launch_bounds__({threads})\n{kernel.name}({", ".join(params)})'

    # ----------------------------------------------------------------------------------- memory

    def load(self, printer: Printer, access: Access) -> str:
        element = f"{access.name}[{access.base}]"
        if access.storage in NARROW:
            element = self.unpack(printer, element, access.storage, 1)
        elif access.storage == BOOL:
            element = f"({element} != 0)"
        return element if access.guard is None else f"({access.guard} ? {element} : {access.other})"

    def store(self, printer: Printer, access: Access, value: str) -> None:
        if access.storage in NARROW:
            value = self.pack(printer, value, access.storage, 1)
        text = f"{access.name}[{access.base}] = {bare(value)};"
        printer.line(text if access.guard is None else f"if ({bare(access.guard)}) {text}")

    def wide_load(self, printer: Printer, stmt: WideLoad) -> None:
        vector, lanes = self._wide_type(stmt.dtype, len(stmt.names))
        name = printer.fresh("v")
        place = f"({printer.name(stmt.buffer)} + {printer.text(stmt.offset)})"
        printer.line(f"const {vector} {name} = *(const {vector}*){place};")
        words = [name] if lanes == 1 else [f"{name}.{'xyzw'[k]}" for k in range(lanes)]
        if stmt.dtype.itemsize < 4:
            words = [self._unpacked(printer, words, k, stmt.dtype) for k in range(len(stmt.names))]
        kind = self.type_name(F32 if stmt.dtype in NARROW else stmt.dtype, 1)
        printer.line(f"const {kind} {', '.join(f'{printer.name(n)} = {w}' for n, w in zip(stmt.names, words))};")

    def wide_store(self, printer: Printer, stmt: WideStore) -> None:
        storage = printer.storage[stmt.buffer]
        kind = F32 if storage in NARROW else storage
        values = [bare(printer.converted(v, kind, 1)) for v in stmt.values]
        vector, lanes = self._wide_type(storage, len(values))
        if storage.itemsize < 4:
            values = self._packed(printer, values, storage)
        whole = values[0] if lanes == 1 else f"make_{vector}({', '.join(values)})"
        text = f"*({vector}*)({printer.name(stmt.buffer)} + {printer.text(stmt.offset)}) = {whole};"
        printer.line(text if stmt.guard is None else f"if ({bare(printer.text(stmt.guard))}) {text}")

    def _wide_type(self, dtype: np.dtype, count: int) -> tuple[str, int]:
        """The vector type of a wide access and its lanes; elements of 1 or 2 bytes travel in words of 4."""
        if dtype.itemsize >= 4:
            return self.type_name(dtype, count), count
        words = count * dtype.itemsize // 4
        return (f"uint{words}" if words > 1 else "unsigned int"), words

    def _unpacked(self, printer: Printer, words: list[str], k: int, dtype: np.dtype) -> str:
        """Element k of the words that a wide access has loaded."""
        each = 4 // dtype.itemsize
        shift, word = k % each * 8 * dtype.itemsize, words[k // each]
        bits = f"(unsigned {'short' if dtype.itemsize == 2 else 'char'})({word}{f' >> {shift}' if shift else ''})"
        if dtype in NARROW:
            return self.unpack(printer, bits, dtype, 1)
        return f"{bits} != 0" if dtype == BOOL else f"({self.type_name(dtype, 1)}){bits}"

    def _packed(self, printer: Printer, values: list[str], dtype: np.dtype) -> list[str]:
        """Elements of 1 or 2 bytes as words of 4."""
        unsigned = f"unsigned {'short' if dtype.itemsize == 2 else 'char'}"
        bits = [self.pack(printer, v, dtype, 1) if dtype in NARROW else f"({unsigned})({v})" for v in values]
        each = 4 // dtype.itemsize
        parts = [[f"((unsigned int){b} << {8 * dtype.itemsize * k})" if k else f"(unsigned int){b}"
                  for k, b in enumerate(bits[start:start + each])] for start in range(0, len(bits), each)]
        return [" | ".join(part) for part in parts]

    def pack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The 16 bits of a float rounded to float16 or bfloat16, ties to even."""
        name = "bits_bf16" if dtype == BFLOAT16 else "bits_f16"
        if dtype == BFLOAT16:
            body = f"    return x != x ? (unsigned short)0x7fc0 : {self._rounded(printer)}(x);"
        else:
            body = '    unsigned short r;\n    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));\n    return r;'
        printer.add_helper(name, f"static __device__ __forceinline__ unsigned short {name}(float x) {{\n{body}\n}}")
        return f"{name}({bare(text)})"

    def _rounded(self, printer: Printer) -> str:
        """The name of a helper for the 16 bits of a bfloat16; of a NaN, those of some NaN."""
        return printer.add_helper("rounded_bf16", (
            "static __device__ __forceinline__ unsigned short rounded_bf16(float x) {\n#if __CUDA_ARCH__ >= 800\n"
            '    unsigned short r;\n    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));\n    return r;\n#else\n'
            "    const unsigned int u = __float_as_uint(x);\n    return x != x ? (unsigned short)0x7fc0 :\n"
            "        (unsigned short)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);\n#endif\n}"))

    def round_to(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        if dtype != BFLOAT16:
            return super().round_to(printer, text, dtype, lanes)
        return self.unpack(printer, f"{self._rounded(printer)}({bare(text)})", BFLOAT16, lanes)

    def unpack(self, printer: Printer, text: str, dtype: np.dtype, lanes: int) -> str:
        """The float whose float16 or bfloat16 bits are `text`."""
        if dtype == BFLOAT16:
            return f"__uint_as_float((unsigned int){text} << 16)"
        printer.add_helper("from_f16", "static __device__ __forceinline__ float from_f16(unsigned short u) {\n"
                           '    float r;\n    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(u));\n    return r;\n}')
        return f"from_f16({bare(text)})"

    # ------------------------------------------------------------------------------------ warps

    def warp_statement(self, printer: Printer, stmt: Stmt) -> None:
        match stmt:
            case CopyAsync():
                printer.add_helper("copy_16", _COPY)
                inside = "true" if stmt.guard is None else bare(printer.text(stmt.guard))
                to = f"{printer.name(stmt.buffer)} + {printer.text(simplify(stmt.offset))}"
                source = f"{printer.name(stmt.source)} + {printer.text(simplify(stmt.place))}"
                printer.line(f"copy_16({to}, {source}, {inside});")
            case CopyGroup():
                what = "commit_group" if stmt.pending is None else f"wait_group {stmt.pending}"
                printer.line(f'asm volatile("cp.async.{what};" ::: "memory");')
            case LoadMatrix():
                name = "load_matrices" + ("_transposed" if stmt.transposed else "")
                printer.add_helper(name, _LOAD_MATRICES.format(name=name, trans=".trans" if stmt.transposed else ""))
                address = f"{printer.name(stmt.buffer)} + {printer.text(simplify(stmt.offset))}"
                printer.line(f"{name}({printer.name(stmt.words)} + {stmt.first}, {address});")
            case MatrixMultiply():
                depth, kind = MULTIPLY_DEPTH[stmt.kind], stmt.kind
                printer.add_helper(f"multiply_{kind}", _MULTIPLY.format(kind=kind, depth=depth))
                places = (f"{printer.name(name)} + {at}" for name, at in (stmt.sums, stmt.left, stmt.right))
                printer.line(f"multiply_{kind}({', '.join(places)});")

    # ---------------------------------------------------------------------------------- atomics

    def atomic(self, printer: Printer, stmt: Atomic, storage: np.dtype, offset: str, value: str) -> str:
        address = f"{printer.name(stmt.buffer)} + ({bare(offset)})"
        if storage.itemsize == 1:
            raise NotImplementedError(f"no atomic {stmt.op} on {storage} in CUDA")
        if stmt.op == "add" and storage.itemsize >= 4:
            if storage == np.dtype(np.int64):
                return f"atomicAdd((unsigned long long*)({address}), (unsigned long long)({bare(value)}))"
            return f"atomicAdd({address}, {bare(value)})"
        if storage.kind in "iu" and storage.itemsize >= 4 and stmt.op != "mul":
            return f"{'atomicMin' if stmt.op == 'minimum' else 'atomicMax'}({address}, {bare(value)})"
        return f"{self._compare_and_swap(printer, stmt.op, storage)}({address}, {bare(value)})"

    def _compare_and_swap(self, printer: Printer, op: str, storage: np.dtype) -> str:
        """A helper that retries until nobody came between."""
        name = f"atomic_{op}_{'bf16' if storage == BFLOAT16 else short_name(storage)}"
        word = {2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}[storage.itemsize]
        kind = F32 if storage in NARROW else storage
        value_type = self.type_name(kind, 1)
        step = {"add": "seen + v", "mul": "seen * v", "minimum": "(v < seen || v != v) ? v : seen",
                "maximum": "(v > seen || v != v) ? v : seen"}[op]
        bits = np.dtype(f"u{storage.itemsize}")
        if storage in NARROW:
            seen, put = self.unpack(printer, "now", storage, 1), self.pack(printer, step, storage, 1)
        else:
            seen = self.reinterpret("now", bits, storage, 1)
            put = self.reinterpret(f"({value_type})({step})", storage, bits, 1)
        printer.add_helper(name, f"static __device__ __forceinline__ void {name}({self.storage_name(storage)}* p, "
                           f"{value_type} v) {{\n    {word}* word = ({word}*)p;\n    {word} old = *word, now;\n"
                           f"    do {{\n        now = old;\n        {value_type} seen = {seen};\n"
                           f"        old = atomicCAS(word, now, ({word})({put}));\n    }} while (old != now);\n}}")
        return name


def emit(kernel: Kernel) -> KernelSource:
    """The CUDA C++ source of a kernel. More shared memory than every kernel may have is asked for at the launch."""
    return emit_with(scalarise(kernel), Cuda(dynamic=shared_bytes(kernel) > STATIC_SHARED))


