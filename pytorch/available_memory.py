"""How much memory this process may use."""

import os
from contextlib import suppress
from pathlib import Path

import torch

GIB = 2**30


def available_memory(device: torch.device) -> float:
    """Total memory of the device for this process, in bytes; infinite if the system does not report it.

    Processes that torchrun starts on one machine (``LOCAL_WORLD_SIZE`` of them) share its memory equally.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
    return min(physical, granted_memory()) / max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def granted_memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Memory limit that a container or a batch system sets for this process, in bytes; infinite without a limit.

    Args:
        root: Folder of the control groups (Linux, cgroups(7)); version 1 keeps those for memory in a subfolder.
        own: File with one line per hierarchy: number, controllers, path of the process's group.
    """
    limits = [float("inf")]
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top, name = (root, "memory.max") if controllers == "" else (root / "memory", "memory.limit_in_bytes")
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):  # inside a container this may be the path outside it
                if folder.is_relative_to(top):
                    with suppress(OSError, ValueError):  # "max": no limit
                        limits.append(float(int((folder / name).read_text())))
    return min(limits)
