from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from localai_admin.lib import exposition


def dump(folder: Path, name: str, count: float, seconds: list[float]) -> None:
    registry = CollectorRegistry()
    Counter("jobs", "Jobs", ["kind"], registry=registry).labels("install").inc(count)
    histogram = Histogram("call", "Calls", buckets=(0.1, 1.0), registry=registry)
    for value in seconds:
        histogram.observe(value)
    exposition.write(folder / name, generate_latest(registry))


def test_counters_and_buckets_of_several_processes_are_added(tmp_path: Path) -> None:
    dump(tmp_path, "otel_1_1.prom", 2, [0.05])
    dump(tmp_path, "otel_2_2.prom", 3, [0.5, 5.0])
    whole = CollectorRegistry()
    whole.register(exposition.Sum(tmp_path))
    assert whole.get_sample_value("jobs_total", {"kind": "install"}) == 5
    assert whole.get_sample_value("call_bucket", {"le": "0.1"}) == 1
    assert whole.get_sample_value("call_bucket", {"le": "1.0"}) == 2
    assert whole.get_sample_value("call_count") == 3
    assert whole.get_sample_value("call_sum") == 5.55
    assert b"call_bucket" in generate_latest(whole)


def test_two_processes_with_one_pid_have_two_files() -> None:
    assert exposition.file_name(7) != exposition.file_name(8)
    assert exposition.file_name(7).startswith("otel_7_")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    dump(tmp_path, "otel_1_1.prom", 1, [])
    dump(tmp_path, "otel_1_1.prom", 9, [])
    assert [path.name for path in tmp_path.iterdir()] == ["otel_1_1.prom"]
