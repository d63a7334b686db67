"""What a cluster's DNS answers for headless Services: the addresses of the pods behind them."""

import ipaddress
import os
import socket
import struct
import threading

A, AAAA = 1, 28
NAME_UNKNOWN = 3


class ClusterDns:
    """A name server on a host of the lab; it ends with the test's process. `names` maps a full name
    with its last dot to a list of addresses, and may change at any time."""

    def __init__(self, host, directory):
        self.names = {}
        self.resolv_conf = os.path.join(directory, "resolv.conf")
        with open(self.resolv_conf, "w", encoding="ascii") as f:
            f.write(f"nameserver {host.ip}\nsearch spegel.svc.cluster.local svc.cluster.local\n"
                    "options ndots:5 timeout:1\n")
        with host.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host.ip, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(512)
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack(">H", query[at + 1:at + 3])
        question = query[12:at + 5]
        known = self.names.get(".".join(labels).lower() + ".")
        addresses = [ipaddress.ip_address(a) for a in known or ()]
        chosen = [a for a in addresses if kind == (A if a.version == 4 else AAAA)]
        head = struct.pack(">HHHHHH", *struct.unpack(">H", query[:2]),
                           0x8580 | (NAME_UNKNOWN if known is None else 0), 1, len(chosen), 0, 0)
        records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 5, len(a.packed)) + a.packed
                           for a in chosen)
        return head + question + records
