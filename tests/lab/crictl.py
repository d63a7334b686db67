"""The CRI client by hand, for play in the lab."""

import sys
import time

from . import rpc
from .cri import Cri


def main(argv):
    """python3 -m lab.crictl SOCKET pull IMAGE | remove IMAGE | images"""
    wanted = {"pull": 3, "remove": 3, "images": 2}
    if len(argv) < 2 or len(argv) != wanted.get(argv[1]):
        print(f"usage: {main.__doc__}", file=sys.stderr)
        return 2
    cri = Cri(argv[0])
    try:
        if argv[1] == "images":
            for image in cri.images():
                print(f"{image['size_bytes']:>12} {' '.join(image['tags'] + image['digests'])}")
            return 0
        begun = time.monotonic()
        (cri.pull if argv[1] == "pull" else cri.remove)(argv[2])
        print(f"{argv[1]} {argv[2]}: {time.monotonic() - begun:.2f} s")
        return 0
    except rpc.RpcError as e:
        print(e, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
