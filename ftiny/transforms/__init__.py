"""The transformations: functions of programs, which compose in any order.

`grad.py` differentiates (jvp, linearize, vjp and what stands on them), `vmap.py` vectorises, `jit.py` traces and
compiles, `call.py` has nested calls and `checkpoint`, `scan.py` and `control.py` the loops and branches, `custom.py`
the rules that users write. `programs.py` derives programs from programs and remembers them; `common.py` is what all
share.
"""
