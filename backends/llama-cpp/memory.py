"""What this backend's processes hold in memory, read from /proc."""

from pathlib import Path

_FIELDS = {"rss": ("VmRSS",), "shared": ("RssFile", "RssShmem"), "anon": ("RssAnon",)}


def breakdown(pids: list[int], model_file: Path | None) -> dict[str, int]:
    """Bytes: rss (all that is resident), of it shared (the model's mapped pages count here) and anon (its own).

    model_file is the size of the loaded file; as long as it is mapped, only what was touched is resident.
    """
    sums = dict.fromkeys(_FIELDS, 0)
    for pid in pids:
        said = _status(pid)
        for name, fields in _FIELDS.items():
            sums[name] += sum(said.get(field, 0) for field in fields)
    if model_file is not None and model_file.is_file():
        sums["model_file"] = model_file.stat().st_size
    return sums


def _status(pid: int) -> dict[str, int]:
    """The sizes in a process's status file, in bytes; nothing for one that has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    told = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, _, value in told if value.endswith(" kB")}
