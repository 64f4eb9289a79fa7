"""How much memory this process may still take."""

import os
from contextlib import suppress
from pathlib import Path

import torch

GIB = 2**30


def available_memory(device: torch.device) -> float:
    """Bytes of memory that the device has in all, for this process; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
    return min(physical, granted_memory())


def granted_memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Bytes of memory that a container or a batch system grants this process; infinite where there is no limit.

    Args:
        root: Where control groups are found (Linux, cgroups(7)); of version 1 those of memory are in a folder of it.
        own: A line for each hierarchy: number, controllers, path of the process's group.
    """
    limits = [float("inf")]
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top, name = (root, "memory.max") if controllers == "" else (root / "memory", "memory.limit_in_bytes")
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):  # inside a container the path may be that outside of it
                if folder.is_relative_to(top):
                    with suppress(OSError, ValueError):  # "max": none
                        limits.append(float(int((folder / name).read_text())))
    return min(limits)
