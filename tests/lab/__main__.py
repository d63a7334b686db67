"""Keeps a lab open for play, until Ctrl-C: PYTHONPATH=tests python3 -m lab"""

import argparse
import os
import shlex
import stat
import sys
import time

import lab
from lab import images, spegel, versions

# A script per node: its commands run where the node lives; three words are CRI's.
NODE_SCRIPT = """\
#!/bin/sh
# Runs a command on {name}. CRI: pull IMAGE | remove IMAGE | images. containerd: ctr ...
case "$1" in
    "") exec {enter} sh ;;
    pull | remove | images) exec env PYTHONPATH={tests} {python} -m lab.crictl {socket} "$@" ;;
    ctr) shift && exec {enter} {ctr} --address {socket} -n k8s.io "$@" ;;
    *) exec {enter} "$@" ;;
esac
"""

PLAY = """\
Things to try, in another terminal as root:

  cd {scripts}
  ./n0 pull {reference}        # from upstream: no peer has it yet
  ./n1 pull {reference}        # from n0: upstream hardly notices
  ./n1 images
  ./n2 ctr images pull --hosts-dir {certs_d} {reference}
  ./n0 curl -s http://127.0.0.1:5000/v2/_catalog
  ./n3 curl -si 'http://127.0.0.1:5000/v2/app/manifests/v1?ns={registry}'
  ./n0 curl -s http://127.0.0.1:9090/metrics
  ./n0 sh                                      # a shell on n0
  ./cut upstream                               # pull the upstream's cable; ./restore puts it back
  kill -9 {daemon_pid}                             # n0's daemon

Logs: {directory}/n0/spegel.log, containerd.log
Ctrl-C takes it all down.
"""


def parse(argv):
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--node-mbit", type=float, default=400, help="rate of each node's link")
    parser.add_argument("--upstream-mbit", type=float, default=100, help="rate of the upstream's")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--layer-mb", type=float, default=8)
    parser.add_argument("--containerd", choices=versions.TRACKS, default="1.6")
    parser.add_argument("--no-daemons", action="store_true", help="containerd and upstream only")
    return parser.parse_args(argv)


def write_script(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, stat.S_IRWXU)


def write_scripts(opened):
    """Puts the scripts of PLAY into the lab's directory; returns where."""
    scripts = opened.net.make_dir("do")
    tests = os.path.join(versions.ROOT, "tests")
    for node in opened.nodes:
        enter = " ".join(shlex.quote(a) for a in node.host.argv([]))
        binaries = node.containerd.binaries
        write_script(os.path.join(scripts, node.name), NODE_SCRIPT.format(
            name=node.name, enter=enter, tests=shlex.quote(tests), python=sys.executable,
            socket=node.containerd.socket, ctr=binaries.ctr if binaries else "ctr"))
    for verb, change in (("cut", "nomaster"), ("restore", "master br0")):
        write_script(os.path.join(scripts, verb), (
            f'#!/bin/sh\n# {verb} <n0|n1|...|upstream>\nport="$1"\n'
            '[ "$port" = upstream ] && port=registry\n'
            f'exec ip -n {opened.net.hub} link set dev "$port" {change}\n'))
    return scripts


def watch(upstream):
    """Says what leaves upstream, once it is quiet again; never returns."""
    told = last = upstream.bytes_sent()
    while True:
        time.sleep(0.5)
        now = upstream.bytes_sent()
        if now == last and now - told > 100_000:
            print(f"{time.strftime('%H:%M:%S')}  upstream sent {(now - told) / 1e6:.1f} MB",
                  flush=True)
            told = now
        last = now


def main(argv):
    options = parse(argv)
    reason = lab.why_unavailable() or (None if options.no_daemons else spegel.why_missing())
    if reason:
        print(f"No lab here: {reason}", file=sys.stderr)
        return 1
    binaries = versions.find(options.containerd)
    if binaries is None:
        print(versions.why_not(options.containerd), file=sys.stderr)
        return 1
    image = images.image(options.layers, options.layer_mb, real_files=True)
    with lab.Lab(options.nodes, binaries=binaries, daemons=not options.no_daemons,
                 node_mbit=options.node_mbit, upstream_mbit=options.upstream_mbit) as opened:
        reference = opened.push(image)
        first = opened.nodes[0]
        print(f"{options.nodes} nodes with containerd {binaries.version}, an upstream that holds "
              f"{reference} ({image.size_bytes / 1e6:.0f} MB, {options.layers} layers).\n")
        print(PLAY.format(scripts=write_scripts(opened), reference=reference,
                          registry=opened.upstream.address, directory=opened.net.directory,
                          certs_d=opened.nodes[min(2, len(opened.nodes) - 1)].containerd.certs_d,
                          daemon_pid=first.daemon.pid if first.daemon else "<pid>"), flush=True)
        try:
            watch(opened.upstream)
        except KeyboardInterrupt:
            print("\nTaking the lab down.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
