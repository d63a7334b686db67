"""The upstream: Debian's docker-registry on a host of its own."""

import os

from . import web
from .process import Process

CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {dir}/storage}}
  delete: {{enabled: true}}
http: {{addr: ":{port}"}}
"""


class Registry(Process):
    """A docker-registry, reachable in the lab as http://<name>:5000."""

    PORT = 5000

    def __init__(self, host, directory, name="registry.lab"):
        super().__init__(host, "docker-registry", directory)
        self.address = f"{name}:{self.PORT}"
        self.url = f"http://{self.address}"
        self.link = host.link
        self._config = os.path.join(directory, "registry.yml")
        with open(self._config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(dir=directory, port=self.PORT))

    def command(self):
        return ["docker-registry", "serve", self._config]

    def environment(self):
        return {**os.environ, "OTEL_TRACES_EXPORTER": "none"}

    def ready(self):
        try:
            return web.request(self.host, f"http://127.0.0.1:{self.PORT}/v2/").status == 200
        except OSError:
            return False

    def reference(self, name):
        """"app:v1" -> "registry.lab:5000/app:v1"."""
        return f"{self.address}/{name}"

    def push(self, image, name, docker_format=False):
        """Pushes an image under e.g. "app:v1", over this host's loopback so that no link counts
        it; returns the full reference. Digests are kept, unless docker_format converts it."""
        how = ["--format", "v2s2"] if docker_format else ["--preserve-digests"]
        self.host.run(["skopeo", "copy", "--quiet", "--insecure-policy", "--all", *how,
                       "--dest-tls-verify=false", f"oci:{image.layout}:{image.tag}",
                       f"docker://127.0.0.1:{self.PORT}/{name}"])
        return self.reference(name)

    def bytes_sent(self):
        """All that ever left this host on its cable."""
        return self.link.sent_bytes()

    def requests(self):
        """The access log: one line per request answered."""
        return [line for line in self.log().splitlines() if '"GET /' in line or '"HEAD /' in line]

    def cut(self, silent=True):
        self.link.cut(silent)

    def restore(self):
        self.link.restore()
