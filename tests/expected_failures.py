"""The ledger of tests that are known to fail, each with its reason. A listed test that passes fails the run.

    "test_ops.py::test_value[lax.sort]": "what is missing and what it waits for"
"""
EXPECTED_FAILURES: dict[str, str] = {}
