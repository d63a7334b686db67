"""Where nodes' files lie: eight containerds that unpack onto one disk would measure the disk."""

import os
import shutil

MEMORY = "/dev/shm"


def use_memory(needed_bytes):
    """Labs made from now on lie in memory, if there is room for so much."""
    if os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free > needed_bytes:
        os.environ.setdefault("SPEGEL_LAB_DIR", MEMORY)
