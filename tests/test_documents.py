"""The code in the documents runs, and prints what stands there."""

import re
from pathlib import Path

import api_coverage
import pytest
from documents import updated

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["docs/one-value.md", "docs/thinking.md", "docs/differences.md"])
def test_a_page_prints_what_it_says(name):
    page = (ROOT / name).read_text()
    assert updated(page, name) == page, f"run: python tests/documents.py --update {name}, and review the difference"


def test_the_example_of_the_readme_trains(capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(code[1], "README.md", "exec"), {"__name__": "readme"})
    assert float(capsys.readouterr().out.split()[-1]) < 0.5


def test_the_list_of_names_is_true():
    import jax

    if jax.__version__ != "0.10.2":
        pytest.skip(f"the page compares with jax 0.10.2, this is {jax.__version__}")
    assert api_coverage.PAGE.read_text() == api_coverage.page(), "run: python tests/api_coverage.py --update"
