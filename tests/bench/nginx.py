"""Debian's nginx on a host: files from disk, or a proxy to another server."""

import os

from lab import web
from lab.process import Process

CONFIG = """\
user root;
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    scgi_temp_path {dir}/scgi;
    uwsgi_temp_path {dir}/uwsgi;
    proxy_buffer_size 256k;
    proxy_buffers 8 256k;
    proxy_busy_buffers_size 512k;
    proxy_max_temp_file_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    {upstream}
    server {{
        listen {port};
        location / {{ {content} }}
        location = /ready {{ return 200; }}
    }}
}}
"""


class Nginx(Process):
    """files: a directory to serve. origin: host:port to pass requests to."""

    PORT = 8080

    def __init__(self, host, directory, files=None, origin=None):
        super().__init__(host, "nginx", directory)
        upstream, content = "", f"root {files};"
        if origin:
            upstream = f"upstream origin {{ server {origin}; keepalive 64; }}"
            content = "proxy_pass http://origin;"
        self._config = os.path.join(directory, "nginx.conf")
        with open(self._config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(dir=directory, port=self.PORT, content=content,
                                  upstream=upstream))

    def command(self):
        return ["/usr/sbin/nginx", "-c", self._config, "-p", self.directory, "-e", "stderr"]

    def ready(self):
        try:
            return web.request(self.host, f"http://{self.host.ip}:{self.PORT}/ready").status == 200
        except OSError:
            return False

    def cpu_seconds(self):
        """Of the worker; its master does nothing."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
            worker = int(f.read().split()[0])
        with open(f"/proc/{worker}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
