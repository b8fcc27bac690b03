"""The blob SDK in depth: staged blocks, ranges, conditions, checksums, lists in pages, metadata, signatures, and a quarter
of a gibibyte that is never whole in memory."""

import base64
import hashlib
import os
from datetime import datetime, timedelta, timezone

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobPrefix,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    generate_blob_sas,
    generate_container_sas,
)

from common_sdk import LOCATION, MANAGEMENT, READY, SUBSCRIPTION, check, raises, refused

GROUP = "sdkblob"
ACCOUNT = "bleublob1"
MIB = 1024 * 1024

here = {"base_url": MANAGEMENT, "credential_scopes": [f"{MANAGEMENT.rstrip('/')}/.default"]}
credential = DefaultAzureCredential()
groups = ResourceManagementClient(credential, SUBSCRIPTION, **here).resource_groups
groups.create_or_update(GROUP, {"location": LOCATION})
accounts = StorageManagementClient(credential, SUBSCRIPTION, **here).storage_accounts
account = accounts.begin_create(GROUP, ACCOUNT, {"location": LOCATION, "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}).result()
key = accounts.list_keys(GROUP, ACCOUNT).keys_property[0].value

by_path = BlobServiceClient(f"{READY['blob'].rstrip('/')}/{ACCOUNT}", {"account_name": ACCOUNT, "account_key": key})
by_host = BlobServiceClient(READY["hosts"]["blob"].format(account=ACCOUNT), {"account_name": ACCOUNT, "account_key": key})

# containers
box = by_path.create_container("box", metadata={"owner": "anna"})
check("container: metadata", {"owner": "anna"}, dict(box.get_container_properties().metadata))
raises("container: not made twice", ResourceExistsError, lambda: by_path.create_container("box"))
check("container: the same by host name", ["box"], [each.name for each in by_host.list_containers()])
refused("container: a bad name", "InvalidResourceName", lambda: by_path.create_container("Not_A_Name"))
raises("container: a missing one", ResourceNotFoundError, lambda: by_path.get_container_client("missing").get_container_properties())

# one put: settings, checksums, metadata
content = os.urandom(70_001)
blob = box.get_blob_client("été/naïve file.bin")
settings = ContentSettings(
    content_type="application/x-thing",
    content_language="fr",
    cache_control="no-store",
    content_md5=bytearray(hashlib.md5(content).digest()),
)
first = blob.upload_blob(content, content_settings=settings, metadata={"kind": "test"}, validate_content=True)
check("put: the answer's MD5", hashlib.md5(content).digest(), bytes(first["content_md5"]))
seen = blob.get_blob_properties()
check("put: length and type", (70_001, "BlockBlob"), (seen.size, str(seen.blob_type.value)))
check("put: settings", ("application/x-thing", "fr", "no-store"),
      (seen.content_settings.content_type, seen.content_settings.content_language, seen.content_settings.cache_control))
check("put: MD5 is kept", hashlib.md5(content).digest(), bytes(seen.content_settings.content_md5))
check("put: metadata", {"kind": "test"}, dict(seen.metadata))
check("put: read back, checked by the client", content, blob.download_blob(validate_content=True).readall())
check("put: the same by host name", content, by_host.get_blob_client("box", "été/naïve file.bin").download_blob().readall())
check("put: of no bytes", 0, box.upload_blob("empty", b"").get_blob_properties().size)
check("get: of no bytes", b"", box.download_blob("empty").readall())

# ranges
for start, length in [(0, 1), (69_990, 11), (4_095, 2), (65_535, 4_000), (60_000, None)]:
    part = content[start:] if length is None else content[start:start + length]
    check(f"range: {start}+{length}", part, blob.download_blob(offset=start, length=length).readall())
check("range: past the end is cut", content[70_000:], blob.download_blob(offset=70_000, length=500).readall())
refused("range: beyond the end", "InvalidRange", lambda: blob.download_blob(offset=80_000, length=5).readall())

# conditions
raises("condition: not overwritten unasked", ResourceExistsError, lambda: blob.upload_blob(b"x"))
second = blob.upload_blob(b"second", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
check("condition: a new tag for a new content", True, second["etag"] != first["etag"])
raises(
    "condition: the old tag no longer matches",
    ResourceModifiedError,
    lambda: blob.upload_blob(b"third", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified),
)
check("condition: and nothing changed", b"second", blob.download_blob().readall())
refused(
    "condition: read if modified",
    "ConditionNotMet",
    lambda: blob.download_blob(etag=second["etag"], match_condition=MatchConditions.IfModified).readall(),
)
refused(
    "condition: delete if unmodified since long ago",
    "ConditionNotMet",
    lambda: blob.delete_blob(if_unmodified_since=datetime(2020, 1, 1, tzinfo=timezone.utc)),
)

# properties and metadata after the fact
blob.set_blob_metadata({"a": "1", "b": "deux"})
blob.set_http_headers(ContentSettings(content_type="text/plain"))
seen = blob.get_blob_properties()
check("set: metadata", {"a": "1", "b": "deux"}, dict(seen.metadata))
check("set: type", "text/plain", seen.content_settings.content_type)

# staged blocks
def block_id(number):
    return base64.b64encode(f"{number:06}".encode()).decode()

blocks = [os.urandom(size) for size in (1, 5_000, 300_000, 4 * MIB)]
staged = box.get_blob_client("staged")
for number, part in enumerate(blocks):
    staged.stage_block(block_id(number), part, validate_content=True)
raises("blocks: nothing to see before the list", ResourceNotFoundError, staged.get_blob_properties)
committed, waiting = staged.get_block_list("all")
check("blocks: waiting", ([], [len(part) for part in blocks]), (committed, [each.size for each in waiting]))
staged.commit_block_list([BlobBlock(block_id(number)) for number in (3, 0, 2)], metadata={"from": "blocks"})
check("blocks: in the order of the list", blocks[3] + blocks[0] + blocks[2], staged.download_blob().readall())
committed, waiting = staged.get_block_list("all")
check("blocks: committed, the rest dropped", ([block_id(n) for n in (3, 0, 2)], []), ([each.id for each in committed], waiting))
staged.stage_block(block_id(7), b"tail")
staged.commit_block_list([BlobBlock(block_id(0)), BlobBlock(block_id(7))])
check("blocks: old and new together", blocks[0] + b"tail", staged.download_blob().readall())
refused("blocks: an unknown one", "InvalidBlockList", lambda: staged.commit_block_list([BlobBlock(block_id(99))]))
check("blocks: and nothing changed", blocks[0] + b"tail", staged.download_blob().readall())

# lists
shelf = by_path.create_container("shelf")
names = sorted(f"{folder}/{number:03}" for folder in ("a", "b", "b.c") for number in range(25)) + ["top", "ütop"]
for name in names:
    shelf.upload_blob(name, name.encode())
check("list: all, in order", names, [each.name for each in shelf.list_blobs()])
pages = [[each.name for each in page] for page in shelf.list_blobs(results_per_page=10).by_page()]
check("list: in pages of ten", ([10] * 7 + [7], names), ([len(page) for page in pages], sum(pages, [])))
check("list: by prefix", [name for name in names if name.startswith("b/")], [each.name for each in shelf.list_blobs(name_starts_with="b/")])
top = [(each.name, isinstance(each, BlobPrefix)) for each in shelf.walk_blobs(delimiter="/")]
check("list: one level", [("a/", True), ("b.c/", True), ("b/", True), ("top", False), ("ütop", False)], top)
pages = [[each.name for each in page] for page in shelf.walk_blobs(delimiter="/", results_per_page=2).by_page()]
check("list: one level in pages", ["a/", "b.c/", "b/", "top", "ütop"], sum(pages, []))
shelf.get_blob_client("top").set_blob_metadata({"shown": "yes"})
shown = {each.name: each.metadata for each in shelf.list_blobs(include=["metadata"])}
check("list: metadata when asked", {"shown": "yes"}, shown["top"])

# signatures made by the client, without a call
soon = datetime.now(timezone.utc) + timedelta(hours=1)
token = generate_container_sas(ACCOUNT, "shelf", account_key=key, permission=ContainerSasPermissions(read=True, list=True), expiry=soon)
held = ContainerClient.from_container_url(f"{shelf.url}?{token}")
check("container SAS: reads", b"top", held.download_blob("top").readall())
refused("container SAS: may not write", "AuthorizationPermissionMismatch", lambda: held.upload_blob("new", b"x"))
refused(
    "container SAS: not for another container",
    "AuthenticationFailed",
    lambda: ContainerClient.from_container_url(f"{box.url}?{token}").download_blob("staged"),
)
token = generate_blob_sas(ACCOUNT, "shelf", "top", account_key=key, permission="r", expiry=soon, content_type="text/html")
one = BlobClient.from_blob_url(f"{shelf.get_blob_client('top').url}?{token}")
check("blob SAS: reads, with the type it says", "text/html", one.download_blob().properties.content_settings.content_type)
past = datetime.now(timezone.utc) - timedelta(hours=1)
token = generate_blob_sas(ACCOUNT, "shelf", "top", account_key=key, permission="r", expiry=past)
late = BlobClient.from_blob_url(f"{shelf.get_blob_client('top').url}?{token}")
refused("blob SAS: expired", "AuthenticationFailed", lambda: late.download_blob())

# a quarter of a gibibyte, made and read piece by piece
def pieces(total):
    """The same bytes each time: each MiB is filled by the digest of its number."""
    for number in range(total // MIB):
        yield hashlib.sha256(str(number).encode()).digest() * (MIB // 32)

SIZE = 256 * MIB
sent, received = hashlib.sha256(), hashlib.sha256()
for piece in pieces(SIZE):
    sent.update(piece)
big = box.get_blob_client("big")
big.upload_blob(pieces(SIZE), length=SIZE, max_concurrency=4)
check("big: length", SIZE, big.get_blob_properties().size)
for piece in big.download_blob(max_concurrency=4).chunks():
    received.update(piece)
check("big: every byte", sent.hexdigest(), received.hexdigest())
far = 200 * MIB + 17
expected = (hashlib.sha256(b"200").digest() * (MIB // 32))[17:1017]
check("big: a piece from far inside", expected, big.download_blob(offset=far, length=1000).readall())

# gone is gone
big.delete_blob()
raises("delete: the blob", ResourceNotFoundError, big.get_blob_properties)
by_path.delete_container("shelf")
raises("delete: the container", ResourceNotFoundError, lambda: list(shelf.list_blobs()))
groups.begin_delete(GROUP).result()
