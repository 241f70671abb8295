from collections.abc import Iterator

import pytest

from gallery.hub.errors import NoRepository, NotAllowed, Unreachable
from gallery.hub.listing import Hub, Repository
from gallery.hub.references import Reference
from localai_admin.lib.net import Client, Policy, Timeouts
from tests.fakes import hub_server


@pytest.fixture
def server() -> Iterator[hub_server.Hub]:
    with hub_server.running() as hub:
        yield hub


def listing(server: hub_server.Hub, reference: Reference, token: str = "", seconds: float = 8) -> Repository:
    client = Client(Policy(trusted_hosts=(server.host,)), Timeouts(connect=2, header=2, stall=2))
    try:
        return Hub(client, server.address, token).repository(reference, seconds)
    finally:
        client.close()


def test_files_come_with_sizes_and_digests_pinned_to_a_commit(server):
    facts = {
        "pipeline_tag": "text-generation",
        "tags": ["gguf", "conversational", "license:mit"],
        "gguf": {"context_length": 32768},
    }
    server.has("o/r", {"m-Q4_0.gguf": b"weights", "README.md": b"#"}, facts=facts)
    found = listing(server, Reference("o/r"))
    model = next(file for file in found.files if file.path == "m-Q4_0.gguf")
    assert (model.size, len(model.sha256)) == (7, 64)
    assert next(file for file in found.files if file.path == "README.md").sha256 == ""
    assert found.commit in server.asked("/tree/")[0]
    assert (found.license, found.chats, found.context_size, found.gated) == ("mit", True, 32768, False)


def test_a_listing_of_several_pages_is_read_to_its_end(server):
    server.has("o/r", sizes={f"f{n}.bin": n for n in range(25)}, page=10)
    assert len(listing(server, Reference("o/r")).files) == 25
    assert len(server.asked("/tree/")) == 3


def test_five_thousand_files_are_listed(server):
    server.has("o/r", sizes={f"d/f{n}.bin": n for n in range(5000)})
    assert len(listing(server, Reference("o/r")).files) == 5000


def test_a_branch_is_asked_for_by_its_name(server):
    server.has("o/r", {"x.gguf": b"x"}, branches={"dev": "d" * 40})
    assert listing(server, Reference("o/r", "dev")).commit == "d" * 40
    with pytest.raises(NoRepository, match="no branch, tag or commit 'gone'"):
        listing(server, Reference("o/r", "gone"))


def test_an_empty_repository_has_no_files(server):
    server.has("o/r")
    assert listing(server, Reference("o/r")).files == ()


def test_names_that_no_file_here_can_have_are_left_out_and_counted(server):
    bad = ["../../etc/passwd", "/etc/passwd", "a/../../b.gguf", "tab\there.gguf", "n" * 300 + ".gguf", "b\\c.gguf", ""]
    server.has("o/r", sizes={**dict.fromkeys(bad, 5), "good.gguf": 5})
    found = listing(server, Reference("o/r"))
    assert [file.path for file in found.files] == ["good.gguf"]
    assert found.left_out == len(bad)


def test_a_missing_repository_says_so_and_that_no_token_is_set(server):
    with pytest.raises(NoRepository, match="no repository o/gone") as error:
        listing(server, Reference("o/gone"))
    assert "HF_TOKEN" in error.value.action


def test_a_private_repository_is_listed_with_the_token_only(server):
    server.has("o/r", {"x.gguf": b"x"}, token="secret", is_private=True)
    with pytest.raises(NoRepository):
        listing(server, Reference("o/r"))
    assert listing(server, Reference("o/r"), token="secret").files


def test_a_gated_repository_is_known_as_such_and_a_refusal_names_its_page(server):
    repo = server.has("o/r", {"x.gguf": b"x"}, token="secret")
    assert listing(server, Reference("o/r")).gated
    repo.status = 403
    with pytest.raises(NotAllowed) as error:
        listing(server, Reference("o/r"))
    assert f"{server.address}/o/r" in error.value.action


@pytest.mark.parametrize("how", [{"is_html": True}, {"status": 500}, {"status": 429}])
def test_a_server_that_does_not_answer_as_it_should_is_named(server, how):
    server.has("o/r", {"x.gguf": b"x"}, **how)
    with pytest.raises(Unreachable) as error:
        listing(server, Reference("o/r"))
    assert error.value.retry


def test_a_slow_server_is_given_up(server):
    server.has("o/r", {"x.gguf": b"x"}, wait=30)
    with pytest.raises(Unreachable, match="did not answer within 2 s"):
        listing(server, Reference("o/r"))


def test_the_token_does_not_follow_the_next_page_to_another_host(server):
    with hub_server.running() as other:
        server.has("o/r", sizes={"a.bin": 1, "b.bin": 1}, page=1, next_page=f"{other.address}/api/models/o/r/tree/x")
        with pytest.raises(Unreachable, match="another host"):
            listing(server, Reference("o/r"), token="secret")
        assert other.seen == []


def test_a_listing_that_leads_in_a_circle_ends(server):
    address = f"{server.address}/api/models/o/r/tree/{hub_server.Repo().commit}?recursive=true"
    server.has("o/r", sizes={"a.bin": 1, "b.bin": 1}, page=1, next_page=address)
    assert [file.path for file in listing(server, Reference("o/r")).files] == ["a.bin"]
