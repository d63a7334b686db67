"""One real daemon among 300 members that speak the real protocol (tests/herd/): it knows all of
them all the time, suspects nobody, answers look-ups rightly through a rollout, and its view ends up
the same as theirs. `./dev herd` does it with 1,000 and measures."""

import json
import os
import subprocess

import pytest

import lab
from lab.versions import BUILD
from support import untimed

HERD = os.path.join(BUILD, "herd")
MEMBERS, KEYS, SECONDS = 300, 100, 3

# Members take turns in one process: what else the machine does makes them late.
pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def herd(built_daemon, tmp_path_factory):
    """What it said of itself, and how it ended."""
    if not os.access(HERD, os.X_OK):
        pytest.skip(f"{HERD} is not built")
    if lab.spegel.sanitized():
        pytest.skip("its goals for memory are for a daemon without a sanitizer")
    done = subprocess.run([HERD, "--members", str(MEMBERS), "--keys", str(KEYS), "--seconds",
                           str(SECONDS), "--json", "--daemon",
                           os.path.abspath(lab.spegel.binary())],
                          cwd=tmp_path_factory.mktemp("herd"), capture_output=True, text=True,
                          timeout=180, check=False)
    print(done.stdout, done.stderr)
    return done, json.loads(done.stdout.splitlines()[-1])


def test_the_daemon_knows_every_member_all_the_time_and_suspects_none(herd):
    done, report = herd
    assert (report["members"], report["keys"]) == (MEMBERS, KEYS)
    if not untimed():
        assert report["alive_min"] == MEMBERS
        assert (report["suspicions"], report["deaths"]) == (0, 0)
    assert report["pings"] > 3 * SECONDS
    # The last may still be under way when it ends.
    assert untimed() or report["pings_unanswered"] <= 1
    assert untimed() or done.returncode == 0, done.stdout


def test_a_rollout_reaches_it_and_the_views_become_equal(herd):
    done, report = herd
    assert [p["name"] for p in report["phases"]] == ["idle", "rollout", "after"]
    idle, rollout, after = report["phases"]
    assert rollout["bytes_in_s"] > 5 * idle["bytes_in_s"], "12 keys of each member came"
    assert after["bytes_in_s"] < rollout["bytes_in_s"] / 2, "and then there was quiet"
    # That they are equal in the end is `failures`; how long it took after the last was told:
    assert untimed() or report["views_equal_ms"] < 10_000
    assert untimed() or report["failures"] == 0, done.stdout


def test_look_ups_are_answered_rightly_meanwhile_and_memory_stays_small(herd):
    assert len(herd[1]["phases"]) == 3
    for phase in herd[1]["phases"]:
        assert phase["unexpected"] == 0
        assert phase["nobody_ms"]["count"] > 0 and phase["one_ms"]["count"] > 0
        # Every key of 300 members is a few hundred kB; a whole daemon is some 3 MB beside it.
        assert phase["private_mb"] < 6
