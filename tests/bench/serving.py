"""Serving what the node holds: a big blob, small manifests, cold files; and what nobody holds."""

import hashlib
import itertools

from lab.spegel import REGISTRY_PORT

from . import blobs, client
from .row import AT_LEAST, AT_MOST, against_limit, against_nginx, in_turns, progress

BIG_REQUESTS = 3  # a sample; CPU time comes in hundredths of a second
FIRST_BYTES, MISSES = 50, 200


def measured(process, drained_by):
    """(GB/s, CPU seconds a GB) of process while drained_by() runs."""
    before = process.cpu_seconds()
    drained = drained_by().expect(200)
    cpu_s = process.cpu_seconds() - before
    return drained.gigabytes / drained.wall_s, cpu_s / drained.gigabytes


def throughput_and_cpu(key, what, rounds, ours, theirs, cpu_goal, throughput_goal):
    pairs = in_turns(rounds, ours, theirs)
    return [
        against_nginx(f"{key}-throughput", f"{what}: throughput",
                      [(o[0], t[0]) for o, t in pairs], "GB/s", AT_LEAST, throughput_goal),
        against_nginx(f"{key}-cpu", f"{what}: CPU", [(o[1], t[1]) for o, t in pairs], "s/GB",
                      AT_MOST, cpu_goal)]


def serve(stage, rounds):
    progress("serving a 512 MB blob")
    path, file_path = stage.big.blob_paths[0], stage.big.file_path(stage.big.digests[0])
    rows = throughput_and_cpu(
        "serve", "serve 512 MB", rounds,
        lambda: measured(stage.a, lambda: stage.from_daemon(
            stage.a, [path], requests=BIG_REQUESTS)),
        lambda: measured(stage.file_nginx, lambda: stage.from_nginx(
            stage.file_nginx, [file_path], requests=BIG_REQUESTS)),
        cpu_goal=1.1, throughput_goal=1.2)
    values = [stage.from_daemon(stage.a, [path], requests=FIRST_BYTES, kind=client.FIRST)
              .expect(200).first_byte_s * 1000 for _ in range(rounds)]
    rows.append(against_limit("first-byte", "serve 512 MB: first byte, connect included", values,
                              "ms", 1.0))
    return rows


def manifests(stage, rounds):
    progress("small manifests")
    a, nginx = stage.a, stage.file_nginx
    ours = f"http://{a.host.ip}:{REGISTRY_PORT}{stage.big.manifest_path}"
    theirs = f"http://{nginx.host.ip}:{nginx.PORT}{stage.big.manifest_file_path}"
    pairs = in_turns(rounds, lambda: client.wrk(stage.client, ours),
                     lambda: client.wrk(stage.client, theirs))
    return [against_nginx("manifests", "manifests: requests", pairs, "1/s", AT_LEAST, 0.8)]


def miss(stage, rounds):
    progress("misses")
    names = (hashlib.sha256(str(n).encode()).hexdigest() for n in itertools.count())

    def one_round():
        # Digests that were never asked for, so that nothing remembers them.
        targets = [blobs.blob_path(f"sha256:{next(names)}")]
        return stage.from_daemon(stage.b, targets, requests=MISSES).expect(404).total_s * 1000

    return [against_limit("miss", "miss, three nodes: answer",
                          [one_round() for _ in range(rounds)], "ms", 0.5)]
