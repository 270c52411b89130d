"""Options of the test run."""

import hypothesis
import pytest

# How long a test takes says nothing about the code on a machine that does other things too.
hypothesis.settings.register_profile("kerb", deadline=None)
hypothesis.settings.load_profile("kerb")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failed one")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and item.config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which this run does not allow: {call.excinfo.value if call.excinfo else ''}"
    return report
