"""Makes `import lab` work, and says once, visibly, why tests that need it are skipped.

The program under test is $SPEGEL, else build/spegel. `./dev test` goes on to the sanitized one by
itself; by hand, after `./dev unit` has built it:

    SPEGEL=$PWD/build/sanitize/spegel ./dev test tests/e2e/test_faults.py

The lab fails a test whose daemon wrote a report. Limits on time and memory are left out then, as
they are with SPEGEL_UNTIMED=1. Logs of failed labs are kept under build/lab/logs/.
"""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import lab  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "timed: asserts how long something takes, or another limit "
                            "that a busy machine misses: nothing may run beside it")


@pytest.fixture(scope="session")
def real_network():
    """Skips where network namespaces cannot be made."""
    reason = lab.why_unavailable()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def built_daemon(real_network):
    """Skips where there is no program to test, or nowhere to run it."""
    reason = lab.spegel.why_missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(params=list(lab.versions.TRACKS))
def any_containerd(request, real_network):
    """Each containerd version in turn; a visible skip for one that cannot be had."""
    binaries = lab.versions.find(request.param)
    if binaries is None:
        pytest.skip(lab.versions.why_not(request.param))
    return binaries


@pytest.fixture(scope="session")
def installed_containerd(real_network):
    """Debian 12's containerd."""
    binaries = lab.versions.find("1.6")
    if binaries is None:
        pytest.skip(lab.versions.why_not("1.6"))
    return binaries
