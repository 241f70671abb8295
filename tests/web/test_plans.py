"""Plans: what an install would do, told before anything is fetched, by servers that behave and servers that do not."""

import hashlib
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.utils import timezone

from gallery.downloads.errors import UnsafeFiles
from gallery.models import Entry, Gallery, Job, Plan
from gallery.services import installs, known_files, leftovers, planning, plans, queue, running
from gallery.services.errors import NameTaken
from gallery.services.plans import NotReady, PlanRefused
from gallery.states import State
from tests.fakes import tiny_gguf

pytestmark = pytest.mark.django_db(transaction=True)

WEIGHTS = bytes(range(256)) * 2000
PROJECTOR = b"mmproj" * 1000


@pytest.fixture(autouse=True)
def empty_queue():
    queue.HUEY.flush()


@pytest.fixture
def gallery():
    return Gallery.objects.create(name="localai", url="https://x.test/index.yaml")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def entry(gallery, server, models_path):
    recipe = {
        "name": "base",
        "config_file": "backend: llama-cpp\ncontext_size: 1024\n",
        "prompt_templates": [{"name": "phi-chat", "content": "{{.Input}}"}],
    }
    data = {
        "name": "phi",
        "url": server.gives("/recipe.yaml", yaml.safe_dump(recipe).encode()),
        "license": "apache-2.0",
        "overrides": {"parameters": {"model": "phi.bin"}, "mmproj": "mm.bin"},
        "files": [
            {"filename": "phi.bin", "sha256": sha(WEIGHTS), "uri": server.gives("/phi.bin", WEIGHTS)},
            {"filename": "mm.bin", "sha256": sha(PROJECTOR), "uri": server.gives("/mm.bin", PROJECTOR)},
        ],
    }
    return Entry.objects.create(gallery=gallery, name="phi", data=data)


def planned(entry: Entry, name: str = "") -> Plan:
    plan = plans.request_plan(installs.wish_for(entry, name), None)
    plans.make_plan(plan.pk)
    plan.refresh_from_db()
    return plan


def change(entry: Entry, **data: Any) -> None:
    entry.data = {**entry.data, **data}
    entry.save()


def files_of(plan: Plan) -> dict[str, dict[str, Any]]:
    return {file["filename"]: file for file in plan.data["files"]}


def kinds(plan: Plan) -> set[str]:
    return {warning["kind"] for warning in plan.data["warnings"]}


def test_a_plan_says_what_would_be_fetched_and_fetches_none_of_it(entry, server, models_path):
    plan = planned(entry)
    assert (plan.state, plan.error) == (Plan.READY, "")
    files = files_of(plan)
    assert (files["phi.bin"]["status"], files["phi.bin"]["size"], files["phi.bin"]["source"]) == (
        "fetch", len(WEIGHTS), "127.0.0.1",
    )  # fmt: skip
    assert plan.data["totals"] == {
        "files": 2, "fetch": len(WEIGHTS) + len(PROJECTOR), "here": 0, "write": len(WEIGHTS) + len(PROJECTOR),
        "unknown_sizes": 0, "to_fetch": 2,
    }  # fmt: skip
    assert plan.data["disk"]["free"] - plan.data["disk"]["after"] == len(WEIGHTS) + len(PROJECTOR)
    assert plan.data["license"] == {"name": "apache-2.0", "link": "https://spdx.org/licenses/Apache-2.0.html"}
    assert plan.data["templates"] == [{"filename": "phi-chat.tmpl", "content": "{{.Input}}"}]
    assert yaml.safe_load(plan.data["configuration"])["context_size"] == 1024
    assert plan.data["backend"]["here"]
    assert plan.data["refusals"] == []
    assert server.sent["/phi.bin"] == server.sent["/mm.bin"] == 0
    assert list(models_path.iterdir()) == []
    assert not Job.objects.exists()


def test_of_a_gguf_the_header_is_read_by_pieces_and_tells_the_memory(entry, server, tmp_path):
    body = tiny_gguf.write(tmp_path / "t.gguf").read_bytes() + bytes(4 << 20)
    file = {"filename": "t.gguf", "sha256": sha(body), "uri": server.gives("/t.gguf", body)}
    change(entry, files=[file], overrides={"parameters": {"model": "t.gguf"}})
    memory = planned(entry).data["memory"]
    assert (memory["fit"], memory["header"]["architecture"], memory["context_size"]) == ("fits", "llama", 1024)
    assert {part["name"]: part["bytes"] for part in memory["parts"]}["weights"] == len(body)
    assert {part["name"]: part["bytes"] for part in memory["parts"]}["context of 1,024 tokens"] == 1024 * 2 * 4 * 32 * 2
    assert "header" in memory["method"]
    (asked,) = server.asked("/t.gguf")
    assert asked.headers["range"] == "bytes=0-65535"


def test_where_the_header_cannot_be_had_the_files_are_counted_and_it_says_why(entry, server):
    uri = server.gives("/t.gguf", b"<html>" * 1000)
    change(entry, files=[{"filename": "t.gguf", "uri": uri}], overrides={"parameters": {"model": "t.gguf"}})
    memory = planned(entry).data["memory"]
    assert memory["need"] == int(6000 * 1.2)
    assert "estimate" in memory["method"]
    assert "no GGUF file" in memory["method"]


def test_a_server_without_head_tells_the_size_by_the_first_byte(entry, server):
    server.pages["/phi.bin"].head = False
    assert files_of(planned(entry))["phi.bin"]["size"] == len(WEIGHTS)


def test_a_size_nobody_says_is_not_known_and_not_zero(entry, server):
    server.gives("/phi.bin", WEIGHTS, length=-1, ranges=False)
    plan = planned(entry)
    assert files_of(plan)["phi.bin"]["size"] is None
    assert (plan.data["totals"]["unknown_sizes"], plan.data["disk"]["exact"]) == (1, False)
    assert (plan.data["memory"]["fit"], plan.data["memory"]["need"]) == ("unknown", None)
    assert "size" in kinds(plan)


def test_a_file_that_is_gone_is_named_and_nothing_can_be_installed(entry, server):
    server.gives("/mm.bin", status=404)
    plan = planned(entry)
    assert plan.state == Plan.READY
    assert files_of(plan)["mm.bin"]["error"]["cause"] == "not_found"
    (refusal,) = plan.data["refusals"]
    assert "mm.bin" in refusal["sentence"]
    with pytest.raises(PlanRefused, match=r"mm\.bin"):
        plans.confirm(plan, None)
    assert not Job.objects.exists()


def test_a_file_behind_a_licence_says_that_a_token_is_needed(entry, server):
    server.gives("/mm.bin", status=401)
    plan = planned(entry)
    assert plan.data["refusals"][0]["cause"] == "needs_token"


def test_a_server_that_is_busy_is_only_a_warning(entry, server):
    server.gives("/mm.bin", status=503)
    plan = planned(entry)
    assert (plan.data["refusals"], "not reached" in kinds(plan)) == ([], True)
    assert files_of(plan)["mm.bin"]["error"]["passes"]
    assert plans.confirm(plan, None).state == State.QUEUED


def test_a_server_that_never_answers_costs_the_plan_its_deadline_and_no_more(entry, server):
    server.gives("/mm.bin", silent=True)
    began = time.monotonic()
    data = planning.make(installs.wish_for(entry), lambda data: None, seconds=1.5)
    assert time.monotonic() - began < 5
    files = {file["filename"]: file for file in data["files"]}
    assert (files["phi.bin"]["size"], files["mm.bin"]["size"]) == (len(WEIGHTS), None)
    assert files["mm.bin"]["error"]["passes"]


def test_sizes_are_asked_for_side_by_side(entry, server):
    many = [{"filename": f"{n}.bin", "uri": server.gives(f"/{n}.bin", b"x" * n, wait=0.4)} for n in range(8)]
    change(entry, files=many, overrides={"backend": "llama-cpp"})
    began = time.monotonic()
    plan = planned(entry)
    assert time.monotonic() - began < 2
    assert [file["size"] for file in plan.data["files"]] == list(range(8))


def test_what_is_known_is_shown_before_the_servers_have_answered(entry):
    seen = []
    planning.make(installs.wish_for(entry), seen.append)
    (draft,) = seen
    assert (draft["step"], [file["size"] for file in draft["files"]]) == (0, [None, None])
    assert draft["license"]["name"] == "apache-2.0"


def test_a_file_that_is_here_is_not_fetched_again(entry, models_path):
    (models_path / "phi.bin").write_bytes(WEIGHTS)
    known_files.remember("phi.bin", sha(WEIGHTS))
    plan = planned(entry)
    assert (files_of(plan)["phi.bin"]["status"], files_of(plan)["phi.bin"]["unchecked"]) == ("here", False)
    assert (plan.data["totals"]["fetch"], plan.data["totals"]["here"]) == (len(PROJECTOR), len(WEIGHTS))


def test_a_file_of_the_same_size_is_looked_at_during_the_install(entry, models_path):
    (models_path / "phi.bin").write_bytes(bytes(len(WEIGHTS)))
    plan = planned(entry)
    assert (files_of(plan)["phi.bin"]["status"], files_of(plan)["phi.bin"]["unchecked"]) == ("here", True)
    assert "not checked" in kinds(plan)


def test_the_same_bytes_under_another_name_are_found(entry, models_path):
    (models_path / "other.bin").write_bytes(WEIGHTS)
    known_files.remember("other.bin", sha(WEIGHTS))
    plan = planned(entry)
    assert (files_of(plan)["phi.bin"]["status"], files_of(plan)["phi.bin"]["same_as"]) == ("elsewhere", "other.bin")
    assert plan.data["totals"]["fetch"] == len(PROJECTOR)


def test_another_file_of_the_name_stands_in_the_way_and_it_says_whose_it_is(entry, models_path):
    (models_path / "phi.bin").write_bytes(b"another")
    (models_path / "old.yaml").write_text("name: old\nparameters: {model: phi.bin}\n")
    plan = planned(entry)
    assert files_of(plan)["phi.bin"]["status"] == "conflict"
    assert "old uses it" in plan.data["refusals"][0]["sentence"]
    with pytest.raises(PlanRefused):
        plans.confirm(plan, None)


def test_a_template_with_another_text_stands_in_the_way(entry, models_path):
    (models_path / "phi-chat.tmpl").write_text("another")
    assert [refusal["cause"] for refusal in planned(entry).data["refusals"]] == ["conflict"]


def test_files_that_other_models_use_are_named_with_them(entry, models_path):
    (models_path / "mm.bin").write_bytes(PROJECTOR)
    known_files.remember("mm.bin", sha(PROJECTOR))
    (models_path / "llava.yaml").write_text("name: llava\nmmproj: mm.bin\n")
    assert files_of(planned(entry))["mm.bin"]["shared_with"] == ["llava"]


def test_what_does_not_fit_the_disk_says_how_much_is_missing(entry, settings):
    settings.DISK_RESERVE = 1 << 60
    plan = planned(entry)
    assert plan.data["disk"]["missing"] > 1 << 59
    (refusal,) = plan.data["refusals"]
    assert (refusal["cause"], "missing" in refusal["sentence"]) == ("no space", True)


def test_what_cannot_be_checked_and_what_runs_code_is_said_first(entry):
    files = [{**file, "sha256": ""} for file in entry.data["files"]]
    change(entry, files=files, overrides={"trust_remote_code": True, "backend": "vllm"})
    plan = planned(entry)
    assert next(iter(plan.data["warnings"]))["kind"] == "remote code"
    assert {"no digest", "no TLS", "backend"} <= kinds(plan)
    assert not plan.data["backend"]["here"]
    assert plan.data["backend"]["action"]
    assert plan.data["refusals"] == []


def test_what_is_secret_is_not_in_a_plan(entry, server):
    uri = server.gives("/phi.bin", WEIGHTS).replace("http://", "http://me:secret1@") + "?token=secret2"
    change(entry, files=[{"filename": "phi.bin", "uri": uri}], overrides={"backend": "x", "api_key": "secret3"})
    assert "secret" not in str(planned(entry).data)


# Policy, what the scan answers, and what the plan makes of it: refusals, warnings.
@pytest.mark.parametrize(
    ("policy", "answer", "refused", "warned"),
    [
        ("block", {"hasUnsafeFile": True, "scansDone": True}, ["unsafe"], False),
        ("warn", {"hasUnsafeFile": True, "scansDone": True}, [], True),
        ("block", {"hasUnsafeFile": False, "scansDone": True}, [], False),
        ("block", None, [], True),
    ],
)
def test_what_the_scan_of_a_repository_found_is_told(entry, server, settings, policy, answer, refused, warned):
    settings.HF_SCAN, settings.HF_ENDPOINTS = policy, (server.url("").rstrip("/"),)
    server.gives("/o/r/resolve/main/w.bin", WEIGHTS)
    if answer:
        server.gives("/api/models/o/r/scan", json.dumps(answer).encode(), content_type="application/json")
    change(entry, files=[{"filename": "w.bin", "uri": "huggingface://o/r/w.bin", "sha256": sha(WEIGHTS)}])
    plan = planned(entry)
    assert plan.state == Plan.READY, plan.error
    assert [refusal["cause"] for refusal in plan.data["refusals"]] == [cause and UnsafeFiles.cause for cause in refused]
    assert bool(kinds(plan) & {"unsafe", "unknown"}) == warned
    assert plan.data["safety"]["policy"] == policy
    assert plan.data["files"][0]["source"] == "Hugging Face o/r"


def test_a_recipe_that_is_not_to_be_had_fails_the_plan_with_cause_and_action(entry, server):
    server.gives("/recipe.yaml", status=404)
    plan = planned(entry)
    assert (plan.state, plan.cause) == (Plan.FAILED, "not_found")
    assert plan.error
    assert plan.action


def test_an_entry_that_is_gone_fails_the_plan(entry):
    plan = plans.request_plan(installs.wish_for(entry), None)
    entry.delete()
    plans.make_plan(plan.pk)
    plan.refresh_from_db()
    assert (plan.state, plan.cause) == (Plan.FAILED, "entry gone")


def test_a_name_that_is_taken_has_no_plan(entry, models_path):
    (models_path / "phi.yaml").write_text("name: phi\nbackend: mine\n")
    with pytest.raises(NameTaken):
        plans.request_plan(installs.wish_for(entry), None)
    assert not Plan.objects.exists()


def test_asking_again_within_a_minute_is_the_same_plan(entry):
    somebody = User.objects.create_user("somebody")
    first = plans.request_plan(installs.wish_for(entry), None)
    assert plans.request_plan(installs.wish_for(entry), None) == first
    assert plans.request_plan(installs.wish_for(entry), somebody) != first
    assert plans.request_plan(installs.wish_for(entry, "other"), None) != first
    Plan.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(minutes=2))
    assert plans.request_plan(installs.wish_for(entry), None) != first


def test_a_failed_plan_is_not_given_again(entry, server):
    server.gives("/recipe.yaml", status=404)
    first = planned(entry)
    assert planned(entry) != first


def test_a_plan_is_worked_out_by_a_message_of_its_own_before_all_others(entry):
    installs.request_install(entry, "other", None)
    plan = plans.request_plan(installs.wish_for(entry), None)
    first = queue.HUEY.dequeue()
    assert (first.name, first.args) == ("run_plan", (str(plan.pk),))
    queue.HUEY.execute(first)
    plan.refresh_from_db()
    assert plan.state == Plan.READY


def test_confirming_makes_the_job_of_just_what_was_planned_and_twice_is_once(entry):
    plan = planned(entry, "mine")
    job = plans.confirm(plan, None)
    assert job.request == plan.request
    assert plans.confirm(plan, None) == job
    assert plans.confirm(Plan.objects.get(pk=plan.pk), None) == job
    assert Job.objects.count() == 1
    assert Plan.objects.get(pk=plan.pk).job == job


def test_an_install_asks_no_server_again_for_the_sizes_that_its_plan_says(entry, server, models_path):
    server.gives("/no-digest.bin", b"text" * 100)
    change(entry, files=[*entry.data["files"], {"filename": "no-digest.bin", "uri": server.url("/no-digest.bin")}])
    job = plans.confirm(planned(entry), None)
    server.seen.clear()
    running.run(job.pk, installs.run_install)
    job.refresh_from_db()
    assert (job.state, job.error) == (State.DONE, "")
    assert {request.path for request in server.seen if request.method == "HEAD"} == {"/no-digest.bin"}
    assert (models_path / "phi.bin").read_bytes() == WEIGHTS


def test_a_size_that_is_another_by_now_is_taken_from_what_comes(entry, server, models_path):
    plan = planned(entry)
    plan.data["files"][0]["size"] //= 2
    plan.save()
    job = plans.confirm(plan, None)
    running.run(job.pk, installs.run_install)
    job.refresh_from_db()
    assert (job.state, job.error, job.bytes_total) == (State.DONE, "", len(WEIGHTS) + len(PROJECTOR))
    assert (models_path / "phi.bin").read_bytes() == WEIGHTS


def test_a_plan_of_more_than_an_hour_ago_is_worked_out_again_before_it_is_acted_upon(entry):
    plan = planned(entry)
    Plan.objects.filter(pk=plan.pk).update(ready_at=timezone.now() - timedelta(minutes=61))
    plan.refresh_from_db()
    with pytest.raises(NotReady, match="hour"):
        plans.confirm(plan, None)
    plan.refresh_from_db()
    assert plan.state == Plan.WORKING
    assert not Job.objects.exists()
    plans.make_plan(plan.pk)
    plan.refresh_from_db()
    assert plans.confirm(plan, None)


def test_a_plan_that_is_being_worked_out_cannot_be_confirmed(entry):
    with pytest.raises(NotReady):
        plans.confirm(plans.request_plan(installs.wish_for(entry), None), None)


def test_a_plan_whose_worker_died_is_made_by_the_next_or_says_so_after_a_minute(entry):
    plan = plans.request_plan(installs.wish_for(entry), None)
    queue.HUEY.flush()
    plans.wake_waiting()
    assert [task.args for task in queue.HUEY.pending()] == [(str(plan.pk),)]
    assert plans.end_lost(timezone.now()) == 0
    assert plans.end_lost(timezone.now() + timedelta(seconds=61)) == 1
    plan.refresh_from_db()
    assert (plan.state, plan.cause) == (Plan.FAILED, "no answer")


def test_the_answer_of_a_worker_that_was_given_up_changes_nothing(entry):
    plan = plans.request_plan(installs.wish_for(entry), None)
    plans.end_lost(timezone.now() + timedelta(seconds=61))
    plans.make_plan(plan.pk)
    plan.refresh_from_db()
    assert plan.state == Plan.FAILED


def test_a_worker_that_fails_at_it_says_so(models_path):
    plan = plans.request_plan({"name": "odd", "entry": 7}, None)
    plans.make_plan(plan.pk)
    plan.refresh_from_db()
    assert (plan.state, plan.cause) == (Plan.FAILED, "internal")


def test_a_model_that_is_installed_has_its_changes_told(entry, models_path):
    running.run(installs.request_install(entry, "", None).pk, installs.run_install)
    assert Path(models_path / "phi.yaml").exists()
    change(entry, overrides={**entry.data["overrides"], "context_size": 2048})
    plan = planned(entry)
    assert plan.data["refusals"] == []
    assert [setting["path"] for setting in plan.data["changes"]["config"]] == ["context_size"]
    assert "replaces" in kinds(plan)
    assert plan.data["totals"]["fetch"] == 0


def test_a_file_that_is_another_one_is_told_with_both_of_its_sizes(entry, server, models_path):
    running.run(installs.request_install(entry, "", None).pk, installs.run_install)
    weights = WEIGHTS + b"more"
    uri = server.gives("/newer.bin", weights)
    change(entry, files=[{"filename": "phi.bin", "sha256": sha(weights), "uri": uri}, entry.data["files"][1]])
    changed = planned(entry).data["changes"]["files"]["changed"]
    sizes = [(file["filename"], file["before"]["size"], file["after"]["size"]) for file in changed]
    assert sizes == [("phi.bin", len(WEIGHTS), len(weights))]


def test_old_plans_are_swept(entry):
    old, new = planned(entry), planned(entry, "new")
    Plan.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))
    leftovers.sweep(timezone.now())
    assert list(Plan.objects.all()) == [new]


def test_a_plan_that_cannot_be_carried_out_is_worked_out_anew_when_asked_again(entry, server):
    server.gives("/phi.bin", status=404)
    first = planned(entry)
    assert first.data["refusals"]
    server.gives("/phi.bin", WEIGHTS)
    again = planned(entry)
    assert (again != first, again.data["refusals"]) == (True, [])
