"""The mirror hop: what b lacks and a holds, against nginx passing requests on to the same a."""

from .row import progress
from .serving import BIG_REQUESTS, measured, throughput_and_cpu


def mirror(stage, rounds):
    progress("mirroring a 512 MB blob")
    targets = stage.big.blob_paths
    return throughput_and_cpu(
        "mirror", "mirror 512 MB", rounds,
        lambda: measured(stage.b, lambda: stage.from_daemon(
            stage.b, targets, requests=BIG_REQUESTS)),
        lambda: measured(stage.proxy_nginx, lambda: stage.from_nginx(
            stage.proxy_nginx, targets, requests=BIG_REQUESTS)),
        cpu_goal=0.8, throughput_goal=1.0)
