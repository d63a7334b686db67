"""Every test that renders does it with each helm there is, 3 and 4. Says once, visibly, why the chart's
tests are skipped where there is none."""

import pytest
from render import EVERYTHING, find_helm, find_helm4, render

HELMS = {"helm3": find_helm(), "helm4": find_helm4()}


@pytest.fixture(scope="session", params=[k for k, path in HELMS.items() if path] or ["no-helm"])
def helm(request):
    """The path of helm."""
    if request.param == "no-helm":
        pytest.skip("no helm: `./dev chart` installs it where Go is")
    return HELMS[request.param]


@pytest.fixture(scope="session")
def defaults(helm):
    return render(helm)


@pytest.fixture(scope="session")
def everything(helm):
    return render(helm, EVERYTHING)
