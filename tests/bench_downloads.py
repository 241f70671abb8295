"""What a download costs, beside what people would type instead: from a web server on this machine, all in one run.

`python -m tests.bench_downloads` measures this alone.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.downloads import bytes_here

LARGE, SMALL, COUNT = 1 << 30, 1 << 20, 200
ROUNDS = 3
#: Bytes a second of each connection, where the server is told to be slow.
SLOW = 20 << 20

#: Downloads and commits in a process of its own, and says seconds, seconds of CPU, MiB resident and bytes fetched.
_ENGINE = """
import json, resource, sys, time
from pathlib import Path
from gallery.downloads.download import download
from gallery.downloads.pace import Unlimited
from gallery.downloads.schemes.resolver import Resolver
from gallery.downloads.specs import FileSpec
from gallery.downloads.store import Ingest
from gallery.downloads.transport import Downloader
from localai_admin.lib.net import Client, Policy
models, connections, files = Path(sys.argv[1]), int(sys.argv[2]), [FileSpec(*f) for f in json.load(open(sys.argv[3]))]
began, before, told = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), []
client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""))
ingest = Ingest(models, "job")
download(files, ingest, transport=Downloader(client, Resolver()), stop=lambda: None, on_progress=told.append,
    pace=Unlimited(connections))
ingest.commit(files, [("model.yaml", b"name: model")])
wall, cpu = time.perf_counter() - began, sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before
# Not ru_maxrss: that is also what the parent had.
resident = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(wall, cpu, int(resident) / 1024, told[-1].fetched)
"""


@dataclass
class Cost:
    """Seconds, seconds of CPU of what downloads, MiB resident (0 when not measured), bytes over the wire."""

    wall: float
    cpu: float = 0.0
    resident: float = 0.0
    fetched: int = 0

    def __str__(self) -> str:
        more = f", {self.resident:.0f} MB" if self.resident else ""
        return f"{self.wall:.2f} s (CPU {self.cpu:.2f} s{more})"


Row = tuple[str, str, str, str, str]


class Bench:
    """A web server with its files, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, folder / "www"
        self.port = 0
        self.digests = dict(self._made())

    def _made(self) -> Iterator[tuple[str, str]]:
        self.files.mkdir()
        for name, size in [("large", LARGE), *((f"{n}.bin", SMALL) for n in range(COUNT))]:
            hasher = hashlib.sha256()
            with (self.files / name).open("wb") as file:
                for _ in range(size // SMALL):
                    piece = os.urandom(SMALL)
                    hasher.update(piece)
                    file.write(piece)
            yield name, hasher.hexdigest()

    @property
    def small(self) -> list[str]:
        return [name for name in self.digests if name != "large"]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def spec(self, name: str, prefix: str = "") -> list[str | int]:
        """A FileSpec, as a plan that was confirmed gives it: with digest and size."""
        return [name, self.digests[name], self.url(prefix + name), (self.files / name).stat().st_size]

    def engine(self, names: Sequence[str], *, connections: int = 8, prefix: str = "", keep: bool = False) -> Cost:
        """The console's own way: checked, on the disk, in place."""
        models = self.folder / "models"
        if not keep:
            shutil.rmtree(models, ignore_errors=True)
            models.mkdir()
        wanted = self.folder / "files.json"
        wanted.write_text(json.dumps([self.spec(name, prefix) for name in names]))
        command = [sys.executable, "-c", _ENGINE, str(models), str(connections), str(wanted)]
        self._settle()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall, cpu, resident, fetched = map(float, done.stdout.split())
        for name in names:
            assert (models / name).stat().st_size == (self.files / name).stat().st_size
        return Cost(wall, cpu, resident, int(fetched))

    def half_done(self, name: str) -> None:
        """A worker that was killed when half of the file was here."""
        models = self.folder / "models"
        shutil.rmtree(models, ignore_errors=True)
        models.mkdir()
        wanted = self.folder / "files.json"
        wanted.write_text(json.dumps([self.spec(name)]))
        worker = subprocess.Popen([sys.executable, "-c", _ENGINE, str(models), "8", str(wanted)])
        while not any(bytes_here(part) >= LARGE // 2 for part in models.glob(".ingest/job/*.part")):
            assert worker.poll() is None, "it was done before it could be killed"
            time.sleep(0.001)
        worker.kill()
        worker.wait()

    def shell(self, command: str) -> Cost:
        """What somebody would type, in an empty folder."""
        place = self.folder / "typed"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        self._settle()
        before, began = os.times(), time.perf_counter()
        subprocess.run(command, shell=True, check=True, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall, after = time.perf_counter() - began, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Cost(wall, cpu)

    @staticmethod
    def _settle() -> None:
        """What was measured before has left gigabytes on their way to the disk; nobody pays for those of another."""
        os.sync()

    def hash_alone(self) -> Cost:
        began, before = time.perf_counter(), time.process_time()
        with (self.files / "large").open("rb") as file:
            hashlib.file_digest(file, "sha256")
        return Cost(time.perf_counter() - began, time.process_time() - before)


@contextmanager
def serving(folder: Path) -> Iterator[Bench]:
    # The server may run as somebody else.
    folder.chmod(0o755)
    bench = Bench(folder)
    for port in range(18080, 18180):
        bench.port = port
        config = folder / "nginx.conf"
        config.write_text(_config(folder, port))
        server = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        if server.poll() is None:
            break
    try:
        yield bench
    finally:
        server.terminate()
        server.wait(10)


def _config(folder: Path, port: int) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    return f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
        events {{ worker_connections 256; }}
        http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; {places}
            server {{ listen 127.0.0.1:{port}; root {folder}/www;
                location /slow/ {{ alias {folder}/www/; limit_rate {SLOW}; }} }} }}
        """


def median_of(measure: Callable[[], Cost]) -> Cost:
    costs = sorted((measure() for _ in range(ROUNDS)), key=lambda cost: cost.wall)
    middle = costs[len(costs) // 2]
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        max(cost.resident for cost in costs),
        middle.fetched,
    )


def rows(folder: Path) -> list[Row]:
    """What, value, target, baseline and ratio of each measurement."""
    with serving(folder) as bench:
        return [*_large(bench), *_set(bench), *_limited(bench), *_resumed(bench)]


def _large(bench: Bench) -> list[Row]:
    url = bench.url("large")
    nowhere = median_of(lambda: bench.shell(f"curl -sf -o /dev/null {url}"))
    hashing = median_of(bench.hash_alone)
    unchecked = median_of(lambda: bench.shell(f"curl -sf -o f {url}"))
    synced = median_of(lambda: bench.shell(f"curl -sf -o f {url} && sync f"))
    piped = median_of(lambda: bench.shell(f"curl -sf {url} | tee f | sha256sum"))
    aria = median_of(lambda: bench.shell(f"aria2c -q -x8 -s8 -o f {url} && sha256sum f"))
    ours = median_of(lambda: bench.engine(["large"]))
    # What survives a loss of power cannot be faster than the disk; `curl -o` alone does not wait for it.
    disk = median_of(lambda: bench.shell("dd if=/dev/zero of=f bs=1M count=1024 conv=fsync"))
    slower = max(nowhere.wall, hashing.wall)
    return [
        _row("1 GiB, checked and on the disk", ours, "< curl -o", "curl -o, unchecked", unchecked, ours.wall),
        _row("1 GiB", ours, "–", "curl -o, unchecked, then sync", synced, ours.wall),
        _row("1 GiB", ours, "≥ 2.5 × faster", "curl | tee | sha256sum", piped, ours.wall, faster=True),
        _row("1 GiB", ours, "≥ 2.5 × faster", "aria2c -x8, then sha256sum", aria, ours.wall, faster=True),
        _row(
            "1 GiB",
            ours,
            "≤ 1.5 ×",
            f"to nowhere {nowhere.wall:.2f} s, hashing alone {hashing.wall:.2f} s",
            Cost(slower),
            ours.wall,
        ),
        _row("1 GiB", ours, "–", "the disk alone, dd conv=fsync", disk, ours.wall),
        ("1 GiB, memory", f"{ours.resident:.0f} MB resident", "< 150 MB", "–", "–"),
    ]


def _set(bench: Bench) -> list[Row]:
    names, urls = bench.small, " ".join(f"-O {bench.url(name)}" for name in bench.small)
    listed = bench.folder / "urls"
    listed.write_text("\n".join(bench.url(name) for name in names))
    unchecked = median_of(lambda: bench.shell(f"curl -sf {urls}"))
    each = "; ".join(f"curl -sf {bench.url(name)} | tee {name} | sha256sum" for name in names)
    piped = median_of(lambda: bench.shell(each))
    aria = median_of(lambda: bench.shell(f"aria2c -q -j8 -x8 -i {listed} && sha256sum *"))
    ours = median_of(lambda: bench.engine(names))
    what = f"{COUNT} files of 1 MiB"
    return [
        _row(f"{what}, checked and on the disk", ours, "–", "curl -O of all, unchecked", unchecked, ours.wall),
        _row(what, ours, "≥ 2.5 × faster", "curl | tee | sha256sum, each", piped, ours.wall, faster=True),
        _row(what, ours, "≥ 2.5 × faster", "aria2c -j8, then sha256sum", aria, ours.wall, faster=True),
    ]


def _limited(bench: Bench) -> list[Row]:
    one = Cost(LARGE / SLOW)
    ours = bench.engine(["large"], prefix="slow/")
    return [_row("1 GiB, 20 MiB/s a connection", ours, "≥ 6 × faster", "one connection", one, ours.wall, faster=True)]


def _resumed(bench: Bench) -> list[Row]:
    def resume() -> Cost:
        bench.half_done("large")
        return bench.engine(["large"], keep=True)

    ours, whole = median_of(resume), median_of(lambda: bench.engine(["large"]))
    return [
        _row("1 GiB, resumed after a kill at half", ours, "–", "all of it", whole, ours.wall),
        ("bytes read again", f"{ours.fetched / LARGE * 100:.1f} % of the file", "≤ 50 % and a part", "–", "–"),
    ]


def _row(what: str, ours: Cost, target: str, base: str, other: Cost, wall: float, *, faster: bool = False) -> Row:
    ratio = f"{other.wall / wall:.1f} × faster" if faster else f"{wall / other.wall:.2f} ×"
    return what, str(ours), target, f"{base}: {other.wall:.2f} s", ratio


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="localai-admin-bench-") as place:
        for row in rows(Path(place)):
            print(" | ".join(row), flush=True)


if __name__ == "__main__":
    main()
