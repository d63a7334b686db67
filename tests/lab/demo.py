"""The main job on real input: ./dev demo

Four nodes, each a real containerd with its own `spegel registry`, share an image; every claim is
checked against bytes counted on the upstream's link, and a false one ends with exit status 1.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import lab
from lab import images, spegel

NODE_MBIT, UPSTREAM_MBIT = 400, 100
LAYERS, LAYER_MB = 4, 16
QUIET_BYTES = 20_000  # what a link without a transfer carries: ARP, retries of a closed connection


class False_(Exception):
    """Something the demo claims did not happen."""


def say(text):
    print(text, flush=True)


def claim(condition, text):
    say(f"   {'ok ' if condition else 'NOT'} {text}")
    if not condition:
        raise False_(text)


class Timed:
    """Runs a pull while printing what moves, and measures seconds and upstream's bytes."""

    def __init__(self, opened, node, reference):
        self.opened, self.node, self.reference = opened, node, reference
        self.seconds = self.upstream_bytes = 0
        self.error = None

    def _pull(self):
        try:
            self.seconds = self.node.pull(self.reference)
        except Exception as e:  # told by run()
            self.error = e

    def run(self, meanwhile=None):
        before = self.opened.upstream.bytes_sent()
        thread = threading.Thread(target=self._pull)
        thread.start()
        shown = time.monotonic()
        while thread.is_alive():
            if meanwhile:
                meanwhile()
            thread.join(0.02)
            if time.monotonic() - shown > 1:
                shown = time.monotonic()
                got = self.node.link.received_bytes() / 1e6
                say(f"      … {self.node.name} has received {got:.0f} MB so far")
        if self.error:
            raise False_(f"the pull on {self.node.name} failed: {self.error}")
        time.sleep(0.1)
        self.upstream_bytes = self.opened.upstream.bytes_sent() - before
        say(f"      {self.node.name}: {self.seconds:.2f} s, upstream sent "
            f"{self.upstream_bytes / 1e6:.2f} MB")
        return self


class Killer:
    """Ends, with SIGKILL, the first other node's daemon that has sent a few MB to the puller."""

    def __init__(self, others):
        self.before = {node: node.link.sent_bytes() for node in others}
        self.killed = None

    def __call__(self):
        for node, before in self.before.items():
            if not self.killed and node.link.sent_bytes() - before > 8_000_000:
                self.killed = node
                node.daemon.kill()
                say(f"      SIGKILL to the daemon of {node.name}, which was sending")


def story(opened, image, reference):
    n0, n1, n2, n3 = opened.nodes
    size = image.size_bytes
    say(f"\n1. {n0.name} pulls {reference} ({size / 1e6:.0f} MB): nobody has it, so it comes from "
        "upstream")
    first = Timed(opened, n0, reference).run()
    claim(first.upstream_bytes > size, "the image left upstream once")

    say("\n2. The others pull: from peers")
    contents = len(image.digests) + 1  # and the tag
    seconds = opened.settle(lambda: all(n.daemon.metric("spegel_gossip_index_keys") >= contents
                                        for n in opened.nodes), what="the news to spread")
    say(f"      every node knew what {n0.name} has {0.1 + seconds:.1f} s after its pull")
    for node in (n1, n2):
        timed = Timed(opened, node, reference).run()
        claim(timed.upstream_bytes < size * 0.01,
              f"next to nothing more from upstream; {first.seconds / timed.seconds:.1f} times as "
              "fast")

    say("\n3. The upstream's cable is cut; a fresh node pulls by tag")
    opened.upstream.cut()
    timed = Timed(opened, n3, reference).run()
    claim(timed.upstream_bytes < QUIET_BYTES, "the pull ended right without upstream")

    say("\n4. A holder's daemon dies in the middle of a pull")
    n1.remove(reference)
    opened.settle(lambda: not n1.daemon.get(f"/v2/_catalog").body.count(b'"app"'),
                  what="the removed image to be withdrawn")
    killer = Killer([n0, n2, n3])
    Timed(opened, n1, reference).run(killer)
    claim(killer.killed is not None, "a daemon was killed while it sent")
    claim(set(image.digests) <= set(n1.containerd.services.content()),
          "every byte arrived: containerd checked all digests")

    say("\n5. A container runs from the pulled image")
    ran, reason = n1.containerd.run_container(reference, ["/bin/sh", "-c", "echo hello from runc"])
    say(f"   {'ok  ' + str(reason).strip() if ran else 'not on this machine: ' + str(reason)}")


def main_lab():
    begun = time.monotonic()
    say("Making an image from real files …")
    image = images.image(LAYERS, LAYER_MB, real_files=True)
    say(f"Starting an upstream registry ({UPSTREAM_MBIT} Mbit/s) and four containerd nodes "
        f"({NODE_MBIT} Mbit/s), in network namespaces …")
    with lab.Lab(4, node_mbit=NODE_MBIT, upstream_mbit=UPSTREAM_MBIT) as opened:
        reference = opened.push(image)
        story(opened, image, reference)
    say(f"\nAll of it held; {time.monotonic() - begun:.0f} s. `./dev lab` keeps these nodes open "
        "for play.")


# --- without root: daemons on loopback that serve OCI layouts ---


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def ready(port, deadline):
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise False_(f"the daemon on port {port} was not ready in time")


def write_layout(directory, name):
    """A small image in an OCI layout, from a real file, with Python alone."""
    import hashlib
    import json
    os.makedirs(os.path.join(directory, "blobs", "sha256"))

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(directory, "blobs", "sha256", digest), "wb") as f:
            f.write(data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    def dump(value):
        return json.dumps(value).encode()

    with open(spegel.binary(), "rb") as f:
        layer = blob(f.read())
    config = blob(dump({"architecture": "amd64", "os": "linux",
                        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}))
    oci = "application/vnd.oci.image."
    manifest = blob(dump({"schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
                          "config": {"mediaType": oci + "config.v1+json", **config},
                          "layers": [{"mediaType": oci + "layer.v1.tar", **layer}]}))
    with open(os.path.join(directory, "oci-layout"), "w", encoding="ascii") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    with open(os.path.join(directory, "index.json"), "w", encoding="ascii") as f:
        json.dump({"schemaVersion": 2, "manifests": [
            {"mediaType": oci + "manifest.v1+json", **manifest,
             "annotations": {"io.containerd.image.name": name}}]}, f)
    return layer


def empty_layout(directory):
    os.makedirs(os.path.join(directory, "blobs", "sha256"))
    with open(os.path.join(directory, "oci-layout"), "w", encoding="ascii") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    with open(os.path.join(directory, "index.json"), "w", encoding="ascii") as f:
        f.write('{"schemaVersion":2,"manifests":[]}')


def curl(url, *more):
    say(f"   $ curl -s '{url}'")
    return subprocess.run(["curl", "-sf", "--max-time", "20", *more, url], check=True,
                          stdout=subprocess.PIPE).stdout


def main_loopback(reason):
    say(f"No lab here: {reason}. Showing daemons on loopback that serve OCI layouts instead.")
    directory = tempfile.mkdtemp(prefix="spegel-demo-")
    daemons = []
    try:
        layer = write_layout(os.path.join(directory, "seed"), "registry.example/app:v1")
        empty_layout(os.path.join(directory, "empty"))
        ports = [free_ports(3), free_ports(3)]
        for own, store in zip(ports, ("seed", "empty")):
            # pylint: disable-next=consider-using-with
            daemons.append(subprocess.Popen(
                [spegel.binary(), "registry", "--store",
                 "oci-layout:" + os.path.join(directory, store),
                 "--registry-addr", f"127.0.0.1:{own[0]}", "--router-addr", f"127.0.0.1:{own[1]}",
                 "--metrics-addr", f"127.0.0.1:{own[2]}", "--bootstrap-kind", "static",
                 "--static-bootstrap-peers", *(f"127.0.0.1:{p[1]}" for p in ports)],
                stderr=subprocess.DEVNULL))
        for own in ports:
            ready(own[0], time.monotonic() + 10)
        say("\n1. The first daemon serves a directory")
        base = f"http://127.0.0.1:{ports[0][0]}"
        claim(b'"app"' in curl(f"{base}/v2/_catalog"), "its catalog lists the image")
        say("\n2. The second holds nothing, and fetches from the first")
        base = f"http://127.0.0.1:{ports[1][0]}"
        manifest = curl(f"{base}/v2/app/manifests/v1?ns=registry.example")
        claim(layer["digest"].encode() in manifest, "the manifest came by tag")
        blob = curl(f"{base}/v2/app/blobs/{layer['digest']}?ns=registry.example")
        import hashlib
        claim("sha256:" + hashlib.sha256(blob).hexdigest() == layer["digest"],
              f"a layer of {len(blob) / 1e6:.1f} MB came, its digest right")
        daemons[0].terminate()
        claim(daemons[0].wait(20) == 0, "the first daemon leaves with exit status 0")
    finally:
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(directory, ignore_errors=True)
    say("\nAll of it held. As root, `./dev demo` shows the real thing: containerd nodes.")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        reason = lab.why_unavailable()
        if reason:
            main_loopback(reason)
        else:
            main_lab()
        return 0
    except (False_, lab.LabError) as e:
        print(f"\ndemo: FAILED: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted, everything taken down", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
