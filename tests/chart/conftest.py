"""Says once, visibly, why the chart's tests are skipped where there is no helm.

helm is $HELM, else what `./dev chart` installed (build/tools/helm), else the one on PATH.
"""

import os
import pathlib
import shutil

import pytest
from render import EVERYTHING, render

TOP = pathlib.Path(__file__).resolve().parents[2]


def find_helm():
    named = os.environ.get("HELM")
    installed = TOP / "build/tools/helm"
    return named or (str(installed) if installed.exists() else shutil.which("helm"))


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
