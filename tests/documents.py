"""Runs the code blocks of a Markdown page, in one namespace, and compares what each prints with the block below it.

    python tests/documents.py docs/one-value.md             compare; exit status 1 at the first difference
    python tests/documents.py --update docs/one-value.md    write what was printed into the page

A ```python block followed by a ```text block is a block with expected output; one without must print nothing.
"""

import contextlib
import io
import re
import sys
from pathlib import Path

BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?:\n\n```text\n(?P<text>.*?)```)?", re.DOTALL)


def outputs(page: str, name: str) -> list[tuple[re.Match, str]]:
    """(block, what it printed) for every python block of the page, in order."""
    namespace: dict = {"__name__": name}
    found = []
    for block in BLOCK.finditer(page):
        printed = io.StringIO()
        line = page[: block.start()].count("\n") + 1
        code = compile("\n" * line + block["code"], name, "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        found.append((block, "\n".join(row.rstrip() for row in printed.getvalue().splitlines())))
    return found


def updated(page: str, name: str) -> str:
    """The page with the expected outputs replaced by the real ones."""
    for block, printed in reversed(outputs(page, name)):
        if block["text"] is not None:
            start, end = block.span("text")
            page = page[:start] + (printed + "\n" if printed else "") + page[end:]
    return page


def main(argv: list[str]) -> int:
    """The command line; see the module docstring."""
    update = "--update" in argv
    for name in (a for a in argv if not a.startswith("--")):
        page = Path(name).read_text()
        new = updated(page, name)
        if update:
            Path(name).write_text(new)
        elif new != page:
            print(f"{name}: the page differs from what its code prints; run with --update and review")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
