"""The registry port of a real daemon, as clients see it: an OCI layout on disk, no containerd."""

import hashlib
import json
import random

import pytest

import lab
from layouts import INDEX, LAYER, MANIFEST, Layout
from support import error_codes

BLOB = random.Random(7).randbytes(3_000_000)
SMALL = random.Random(8).randbytes(70_000)
ZEROS = "sha256:" + "0" * 64


class Served:
    """n0 serves the layout, n1 holds nothing and mirrors."""

    def __init__(self, opened, layout):
        self.lab, (self.holder, self.mirror) = opened, opened.nodes
        self.image, self.manifest = layout.image("registry.lab:5000/lib/app:v1", [BLOB, SMALL])
        self.layer = self.manifest["layers"][0]["digest"]
        for number in range(1, 4):
            layout.image(f"example.com/lib/app:v{number}", [b"layer %d" % number], number)
        layout.image("example.com/lib/tool:latest", [b"tool"], 9)
        layout.image("example.com/zoo:1", [b"zoo"], 10)
        self.signature = layout.artifact(self.image, "application/x.signature", {"by": "tests"})
        self.sbom = layout.artifact(self.image, "application/x.sbom")

    def manifest_path(self, digest=None, ns="registry.lab:5000"):
        return f"/v2/lib/app/manifests/{digest or 'v1'}" + (f"?ns={ns}" if ns else "")

    def blob_path(self, digest=None):
        return f"/v2/lib/app/blobs/{digest or self.layer}?ns=registry.lab:5000"


@pytest.fixture(scope="module")
def served(built_daemon, tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("layout") / "store")
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        l.add_node(start=False, stores=[layout.directory])
        l.add_node(start=False)
        s = Served(l, layout)
        l.start()
        l.settle(lambda: s.mirror.get(s.blob_path(), "HEAD").status == 200,
                 what="the mirror to know the holder")
        yield s


@pytest.fixture(params=["store", "peer"])
def node(request, served):
    """The same questions to the node that holds all, and to the one that asks it."""
    return served.holder if request.param == "store" else served.mirror


# --- content ---


def test_the_ping_says_that_this_is_a_registry(node):
    for method in ("GET", "HEAD"):
        reply = node.get("/v2/", method)
        assert reply.status == 200
    reply = node.get("/v2")
    assert reply.status == 307 and reply.headers["Location"] == "/v2/"


def test_manifests_by_tag_and_digest(served, node):
    digest = served.image["digest"]
    for path in (served.manifest_path(), served.manifest_path(digest)):
        whole, head = node.get(path), node.get(path, "HEAD")
        assert (whole.status, head.status, head.body) == (200, 200, b"")
        assert json.loads(whole.body) == served.manifest
        for reply in (whole, head):
            assert reply.headers["Content-Length"] == str(served.image["size"])
            assert reply.headers["Content-Type"] == MANIFEST
            assert reply.headers["Docker-Content-Digest"] == digest
            assert reply.headers["OCI-Namespace"] == "registry.lab:5000"


def test_blobs_whole_and_their_heads(served, node):
    for layer, data in zip(served.manifest["layers"], (BLOB, SMALL)):
        whole = node.get(served.blob_path(layer["digest"]))
        head = node.get(served.blob_path(layer["digest"]), "HEAD")
        assert (whole.status, head.status, head.body) == (200, 200, b"")
        assert whole.body == data
        for reply in (whole, head):
            assert reply.headers["Content-Length"] == str(len(data))
            assert reply.headers["Content-Type"] == "application/octet-stream"
            assert reply.headers["Docker-Content-Digest"] == layer["digest"]
            assert reply.headers["Accept-Ranges"] == "bytes"
            assert "Content-Encoding" not in reply.headers


SIZE = len(BLOB)


@pytest.mark.parametrize("asked, first, last", [
    ("bytes=0-0", 0, 0),
    ("bytes=100-199", 100, 199),
    ("bytes=1000000-", 1_000_000, SIZE - 1),
    (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    ("bytes=-1", SIZE - 1, SIZE - 1),
    ("bytes=-70000", SIZE - 70_000, SIZE - 1),
    (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
    (f"bytes=5-{SIZE * 2}", 5, SIZE - 1),
])
def test_one_range_of_a_blob(served, node, asked, first, last):
    reply = node.get(served.blob_path(), headers={"Range": asked})
    assert reply.status == 206
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert reply.headers["Content-Length"] == str(last - first + 1)
    assert reply.body == BLOB[first:last + 1]


@pytest.mark.parametrize("asked", ["bytes=0-9,20-29", "lines=0-9", "bytes=9-0", "bytes=x-y",
                                   "bytes=-"])
def test_several_ranges_and_senseless_ones_give_the_whole_body(served, node, asked):
    reply = node.get(served.blob_path(), headers={"Range": asked})
    assert reply.status == 200 and reply.body == BLOB


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", "bytes=-0"])
def test_ranges_behind_the_end_cannot_be_satisfied(served, node, asked):
    reply = node.get(served.blob_path(), headers={"Range": asked})
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{SIZE}"


def test_what_a_client_has_already_is_not_sent_again(served):
    node = served.holder
    for path in (served.manifest_path(), served.blob_path()):
        etag = node.get(path, "HEAD").headers["ETag"]
        assert etag.startswith('"') and etag.endswith('"')
        for header in (etag, f'"other", {etag}', "*"):
            reply = node.get(path, headers={"If-None-Match": header})
            assert (reply.status, reply.body) == (304, b"")
            assert reply.headers["ETag"] == etag
        assert node.get(path, headers={"If-None-Match": '"other"'}).status == 200
    part = {"Range": "bytes=0-9"}
    etag = node.get(served.blob_path(), "HEAD").headers["ETag"]
    assert node.get(served.blob_path(), headers={**part, "If-Range": etag}).status == 206
    assert node.get(served.blob_path(), headers={**part, "If-Range": '"other"'}).status == 200


def test_a_manifest_is_no_blob_and_a_blob_no_manifest(served, node):
    reply = node.get(served.blob_path(served.image["digest"]))
    assert reply.status == 404 and error_codes(reply) == ["BLOB_UNKNOWN"]
    reply = node.get(served.manifest_path(served.manifest["layers"][1]["digest"]))
    assert reply.status == 404 and error_codes(reply) == ["MANIFEST_UNKNOWN"]


def test_a_holder_that_denies_a_blob_is_still_asked_for_the_manifest(served):
    # containerd asks for /blobs/<digest of a manifest> when it found no manifest anywhere.
    digest = served.image["digest"]
    assert served.mirror.get(served.blob_path(digest), "HEAD").status == 404
    assert served.mirror.get(served.manifest_path(digest)).status == 200


def test_the_loop_guard_keeps_a_mirror_from_asking_others(served):
    for headers in ({"X-Spegel-Mirrored": "true"}, {"X-Spegel-Mirror": "false"}):
        assert served.holder.get(served.blob_path(), headers=headers).status == 200
        reply = served.mirror.get(served.blob_path(), headers=headers)
        assert reply.status == 404 and error_codes(reply) == ["BLOB_UNKNOWN"]


def test_the_registry_may_come_in_a_header_or_not_at_all(served):
    path = served.manifest_path(ns=None)
    for headers in ({"OCI-Namespace": "registry.lab:5000"},
                    {"X-Spegel-Registry": "http://registry.lab:5000"}):
        for node in (served.holder, served.mirror):
            reply = node.get(path, headers=headers)
            assert json.loads(reply.body) == served.manifest
    # example.com has lib/app:v1, too.
    reply = served.holder.get(path)
    assert reply.status == 404 and error_codes(reply) == ["MANIFEST_UNKNOWN"]
    assert b"registry.lab:5000" in reply.body and b"example.com" in reply.body
    assert served.holder.get("/v2/lib/tool/manifests/latest").status == 200
    assert served.mirror.get("/v2/lib/tool/manifests/latest").status == 404
    for node in (served.holder, served.mirror):
        digest = served.image["digest"]
        assert node.get(served.manifest_path(digest, ns=None)).status == 200


# --- listings ---


def pages(node, path, key):
    """All pages from path on, following Link."""
    found, requests = [], 0
    while path:
        reply = node.get(path)
        assert reply.status == 200
        found.append(json.loads(reply.body)[key])
        link, path = reply.headers["Link"], None
        if link:
            target, _, relation = link.partition(">; ")
            assert relation == 'rel="next"' and target.startswith("</v2/")
            path = target[1:]
        requests += 1
        assert requests < 100
    return found


def test_the_catalog_lists_repositories_page_by_page(served):
    # The signature and the SBOM have no name, so they belong to the layout's own: "store".
    node, names = served.holder, ["lib/app", "lib/tool", "store", "zoo"]
    assert pages(node, "/v2/_catalog", "repositories") == [names]
    assert pages(node, "/v2/_catalog?n=1", "repositories") == [[name] for name in names]
    assert pages(node, "/v2/_catalog?n=3", "repositories") == [names[:3], names[3:]]
    assert pages(node, "/v2/_catalog?n=4", "repositories") == [names]
    assert pages(node, "/v2/_catalog?last=lib/app", "repositories") == [names[1:]]
    assert pages(node, "/v2/_catalog?last=zoo", "repositories") == [[]]
    one = "/v2/_catalog?ns=registry.lab:5000"
    assert pages(node, one, "repositories") == [["lib/app", "store"]]
    assert pages(node, "/v2/_catalog?n=0", "repositories") == [[]]
    assert error_codes(node.get("/v2/_catalog?n=x")) == ["PAGINATION_NUMBER_INVALID"]


def test_tags_are_listed_page_by_page(served):
    node, path = served.holder, "/v2/lib/app/tags/list?ns=example.com"
    assert pages(node, path, "tags") == [["v1", "v2", "v3"]]
    assert pages(node, path + "&n=2", "tags") == [["v1", "v2"], ["v3"]]
    assert pages(node, path + "&last=v1", "tags") == [["v2", "v3"]]
    assert json.loads(node.get(path).body)["name"] == "lib/app"
    assert pages(node, "/v2/lib/app/tags/list", "tags") == [["v1", "v2", "v3"]]
    reply = node.get("/v2/lib/nothing/tags/list")
    assert reply.status == 404 and error_codes(reply) == ["NAME_UNKNOWN"]


def test_referrers_are_an_index_filtered_by_type(served):
    def ask(query=""):
        reply = served.holder.get(f"/v2/lib/app/referrers/{served.image['digest']}{query}")
        assert reply.status == 200 and reply.headers["Content-Type"] == INDEX
        body = json.loads(reply.body)
        assert body["schemaVersion"] == 2 and body["mediaType"] == INDEX
        return reply, {m["digest"]: m for m in body["manifests"]}

    _, found = ask()
    assert set(found) == {served.signature["digest"], served.sbom["digest"]}
    signature = found[served.signature["digest"]]
    assert signature["artifactType"] == "application/x.signature"
    assert signature["size"] == served.signature["size"]
    assert signature["annotations"] == {"by": "tests"}
    reply, found = ask("?artifactType=application%2Fx.sbom")
    assert set(found) == {served.sbom["digest"]}
    assert reply.headers["OCI-Filters-Applied"] == "artifactType"
    assert ask("?artifactType=none")[1] == {}
    reply = served.holder.get(f"/v2/lib/app/referrers/{ZEROS}")
    assert reply.status == 200 and json.loads(reply.body)["manifests"] == []
    reply = served.holder.get("/v2/lib/app/referrers/sha256:xyz")
    assert reply.status == 400 and error_codes(reply) == ["DIGEST_INVALID"]


# --- errors ---


@pytest.mark.parametrize("path, status, code", [
    ("/v2/lib/app/manifests/none?ns=registry.lab:5000", 404, "MANIFEST_UNKNOWN"),
    (f"/v2/lib/app/manifests/{ZEROS}?ns=registry.lab:5000", 404, "MANIFEST_UNKNOWN"),
    (f"/v2/lib/app/blobs/{ZEROS}?ns=registry.lab:5000", 404, "BLOB_UNKNOWN"),
    (f"/v2/lib/app/blobs/sha512:{'0' * 128}?ns=registry.lab:5000", 404, "BLOB_UNKNOWN"),
    ("/v2/lib/app/blobs/sha256:0123", 400, "DIGEST_INVALID"),
    ("/v2/lib/app/blobs/v1", 400, "DIGEST_INVALID"),
    ("/v2/lib/app/manifests/-bad", 400, "TAG_INVALID"),
    ("/v2/lib/app/manifests/" + "t" * 129, 400, "TAG_INVALID"),
    ("/v2/UPPER/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/lib//app/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/lib/app/manifests/v1?ns=not/a/host", 400, "NAME_INVALID"),
    ("/v2/lib/app/nonsense", 404, "UNSUPPORTED"),
    ("/nothing", 404, "UNSUPPORTED"),
])
def test_errors_carry_the_codes_of_the_specification(node, path, status, code):
    reply = node.get(path)
    assert (reply.status, error_codes(reply)) == (status, [code])
    assert node.get(path, "HEAD").status == status


def test_a_miss_says_whom_it_asked_and_what_came_of_it(served):
    reply = served.mirror.get(served.blob_path(ZEROS))
    assert json.loads(reply.body)["errors"][0]["detail"]["attempts"] == []
    assert reply.total_s < 1.0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_not_allowed(node, method):
    for path in ("/v2/", "/v2/lib/app/blobs/uploads/", f"/v2/lib/app/manifests/{ZEROS}"):
        reply = node.get(path, method)
        assert (reply.status, error_codes(reply)) == (405, ["UNSUPPORTED"])
        assert reply.headers["Allow"] == "GET, HEAD"


# --- probes and metrics ---


def test_probes_answer_and_say_why(served, node):
    for path in ("/readyz", "/livez", "/healthz"):
        for method in ("GET", "HEAD"):
            assert node.get(path, method).status == 200
    ready = json.loads(node.get("/readyz").body)
    assert ready["ok"] is True and ready["contents_listed"] is True and ready["members"] == 1


SURFACE = """
spegel_mirror_requests_total spegel_mirror_last_success_timestamp_seconds
spegel_resolve_duration_seconds_bucket spegel_resolve_duration_seconds_sum
spegel_resolve_duration_seconds_count spegel_advertised_image_tags
spegel_advertised_image_digests spegel_advertised_content_digests
http_request_duration_seconds_bucket http_request_duration_seconds_sum
http_request_duration_seconds_count http_response_size_bytes_bucket http_requests_inflight
process_resident_memory_bytes process_open_fds process_cpu_seconds_total
spegel_served_bytes_total spegel_loop_delay_seconds_bucket
""".split()


def test_metrics_have_the_names_that_dashboards_use(served):
    served.mirror.get(served.blob_path())
    served.mirror.get(served.blob_path(ZEROS))
    found = served.mirror.daemon.metrics()
    names = {name.partition("{")[0] for name in found}
    # What is advertised is counted where there is something.
    names |= {name.partition("{")[0] for name in served.holder.daemon.metrics()}
    assert set(SURFACE) - names == set()

    def value(name, **labels):
        return served.mirror.daemon.metric(name, **labels)

    assert value("spegel_mirror_requests_total", registry="registry.lab:5000", cache="hit") > 0
    assert value("spegel_mirror_requests_total", registry="registry.lab:5000", cache="miss") > 0
    assert value("spegel_resolve_duration_seconds_count", router="gossip") > 0
    assert value("http_request_duration_seconds_count", handler="/v2/*", method="GET",
                 code="200") > 0
    assert value("http_request_duration_seconds_count", handler="/readyz") > 0
    assert value("process_resident_memory_bytes") > 1_000_000
    assert value("spegel_served_bytes_total", source="peer") >= SIZE
    holder = served.holder.daemon
    assert holder.metric("spegel_advertised_image_tags", registry="example.com") == 5
    assert holder.metric("spegel_advertised_image_tags", registry="registry.lab:5000") == 1
    sizes = [n for n in served.mirror.daemon.metrics() if n.startswith("http_response_size_bytes")]
    assert any('le="1024"' in n for n in sizes) and any('le="5120"' in n for n in sizes)
    reply = served.mirror.get(f"http://{served.mirror.ip}:9090/nothing")
    assert reply.status == 404


# --- the store changes; IPv6 ---


def test_both_address_families_are_served(served):
    for node in (served.holder, served.mirror):
        for host in (f"[{node.ip6}]", "[::1]", node.ip, "127.0.0.1"):
            client = served.lab.nodes[0] if host == f"[{node.ip6}]" else node
            reply = client.get(f"http://{host}:5000{served.blob_path()}")
            assert hashlib.sha256(reply.body).hexdigest() == served.layer.partition(":")[2]


def test_a_layout_is_read_again_when_it_changes(built_daemon, tmp_path):
    layout = Layout(tmp_path / "plain")
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        l.add_node(start=False, stores=[layout.directory])
        l.add_node(start=False)
        l.start()
        holder, other = l.nodes
        assert holder.get("/v2/new/manifests/v1?ns=example.com").status == 404
        descriptor, manifest = layout.image("example.com/new:v1", [b"new layer"])
        l.settle(lambda: other.get("/v2/new/manifests/v1?ns=example.com").status == 200,
                 what="the new image to be known")
        digest = manifest["layers"][0]["digest"]
        assert other.get(f"/v2/new/blobs/{digest}?ns=example.com").body == b"new layer"
        # A blob that is not what its name says goes no further than the next mirror.
        bad = layout.put(b"right", LAYER)["digest"]
        with open(layout.path(bad), "ab") as f:
            f.write(b" and wrong")
        layout.image("example.com/bad:v1", [b"right"])
        l.settle(lambda: holder.get("/v2/bad/tags/list").status == 200, what="the bad image")
        assert other.get(f"/v2/bad/blobs/{bad}?ns=example.com").status == 404
        assert holder.get(f"/v2/new/manifests/{descriptor['digest']}").status == 200


def test_a_layout_without_names_is_a_repository_named_after_its_directory(built_daemon, tmp_path):
    layout = Layout(tmp_path / "plain")
    entry, manifest = layout.image(None, [b"unnamed"])
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        l.add_node(start=False, stores=[layout.directory])
        l.add_node(start=False)
        l.start()
        holder, other = l.nodes
        assert json.loads(holder.get("/v2/_catalog").body)["repositories"] == ["plain"]
        digest = manifest["layers"][0]["digest"]
        for ns in ("", "?ns=anything.example"):
            assert holder.get(f"/v2/plain/manifests/{entry['digest']}{ns}").status == 200
            l.settle(lambda: other.get(f"/v2/plain/blobs/{digest}{ns}").status == 200,
                     what="its digests to be announced")
