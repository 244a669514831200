"""The examples of the how-to run, those in Redis with a real one."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "limit-and-break.md"
EXAMPLES = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_ADDRESS = "redis://127.0.0.1:6379/0"
PATIENT = 10.0  # seconds


def test_the_examples_of_the_page_do_what_it_says(fresh):
    text = PAGE.read_text(encoding="utf-8")
    assert SHOWN_ADDRESS in text
    shown = "\n".join(EXAMPLES.findall(text)).replace(SHOWN_ADDRESS, fresh.url)
    patient = shown.replace("fail=", f"timeout={PATIENT}, fail=")  # this machine may be busy
    examples = doctest.DocTestParser().get_doctest(patient, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=told.append)
    assert result.failed == 0, "".join(told)
    assert result.attempted >= 60
