"""Says once, visibly, why the chart's tests are skipped where there is no helm."""

import pytest
from render import EVERYTHING, find_helm, render


@pytest.fixture(scope="session")
def helm():
    """The path of helm."""
    path = find_helm()
    if not path:
        pytest.skip("no helm: `./dev chart` installs it where Go is")
    return path


@pytest.fixture(scope="session")
def defaults(helm):
    return render(helm)


@pytest.fixture(scope="session")
def everything(helm):
    return render(helm, EVERYTHING)
