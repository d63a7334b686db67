"""gRPC over a unix socket with messages written by hand: enough for containerd, no generated code.

A message to send is a list of (field number, value): int or bool, str, bytes, or a list (a nested
message). A message received is a dict: field number -> list of raw values (int or bytes).
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402  (reads the variables above)


class RpcError(Exception):
    """A call that failed: code is a name such as NOT_FOUND, message what the server said."""

    def __init__(self, method, code, message):
        super().__init__(f"{method}: {code}: {message}")
        self.code, self.message = code, message


def _varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(fields):
    """The bytes of a message."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(int(value))
            continue
        if isinstance(value, str):
            value = value.encode()
        elif isinstance(value, (list, tuple)):
            value = encode(value)
        out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return bytes(out)


def _read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def decode(data):
    """The fields of a message."""
    fields, at = {}, 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
        elif kind == 2:
            size, at = _read_varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[kind]
            value, at = data[at:at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def text(fields, number, default=""):
    """A string field of a decoded message."""
    return fields[number][-1].decode() if number in fields else default


def number(fields, key, default=0):
    """An integer field of a decoded message."""
    return fields[key][-1] if key in fields else default


def string_map(fields, key):
    """A map<string,string> field of a decoded message."""
    entries = [decode(raw) for raw in fields.get(key, [])]
    return {text(e, 1): text(e, 2) for e in entries}


class Client:
    """A channel to one socket. Reconnects by itself, without gRPC's long back-off."""

    def __init__(self, socket_path, metadata=()):
        options = [("grpc.max_receive_message_length", 64 << 20),
                   ("grpc.initial_reconnect_backoff_ms", 20),
                   ("grpc.max_reconnect_backoff_ms", 200),
                   ("grpc.min_reconnect_backoff_ms", 20),
                   ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=options)
        self._metadata = list(metadata)

    def call(self, method, fields=(), timeout_s=10.0):
        """A unary call: /package.Service/Method; returns the decoded reply."""
        stub = self._channel.unary_unary(method)
        try:
            return decode(stub(encode(fields), timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as e:
            raise RpcError(method, e.code().name, e.details()) from None

    def stream(self, method, fields=(), timeout_s=10.0):
        """A server-streaming call; yields decoded replies."""
        stub = self._channel.unary_stream(method)
        try:
            for reply in stub(encode(fields), timeout=timeout_s, metadata=self._metadata):
                yield decode(reply)
        except grpc.RpcError as e:
            raise RpcError(method, e.code().name, e.details()) from None

    def close(self):
        self._channel.close()
