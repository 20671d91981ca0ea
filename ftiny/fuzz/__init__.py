"""Random programs over the whole API, run by ftiny and by an oracle, compared, and shrunk when they disagree.

Input: a seed. Output: a program, its results in both libraries, and for a disagreement a short script that shows it:

    python -m ftiny fuzz --seconds 60 --seed 0 --device opencl:0

The modules in the order in which a program passes through them: `table` and `operations` (what a line of a program can
be), `programs` (programs, and how a seed becomes one), `forms` (the transformations a program is put under),
`libraries` (ftiny and jax under the same names), `checking` (how far results may differ), `shrinking` (a smaller
program that still fails, as a script), `command` (many seeds in worker processes).
"""
