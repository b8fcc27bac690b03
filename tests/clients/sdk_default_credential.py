"""A program as people write it: `DefaultAzureCredential()` without an argument, finding everything in the environment."""

import base64
import json
import os
import uuid

from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient
from azure.storage.blob import BlobServiceClient

from common_sdk import LOCATION, MANAGEMENT, READY, SUBSCRIPTION, check, raises, refused

GROUP = "sdk"
ACCOUNT = "bleusdk1"
DATA_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"

check("the environment names the ADFS form", "adfs", os.environ["AZURE_TENANT_ID"])
credential = DefaultAzureCredential()
scope = f"{MANAGEMENT.rstrip('/')}/.default"
here = {"base_url": MANAGEMENT, "credential_scopes": [scope]}
resources = ResourceManagementClient(credential, SUBSCRIPTION, **here)
accounts = StorageManagementClient(credential, SUBSCRIPTION, **here)
roles = AuthorizationManagementClient(credential, SUBSCRIPTION, **here)

# groups
groups = resources.resource_groups
group = groups.create_or_update(GROUP, {"location": LOCATION, "tags": {"made": "by-sdk"}})
check("group: created", (GROUP, "Succeeded"), (group.name, group.properties.provisioning_state))
check("group: exists", True, groups.check_existence(GROUP))
check("group: a missing one does not", False, groups.check_existence("missing"))
check("group: listed", True, GROUP in [each.name for each in groups.list()])
check("group: found by tag", [GROUP], [each.name for each in groups.list(filter="tagName eq 'made' and tagValue eq 'by-sdk'")])
check("group: new tags", {"made": "again"}, groups.update(GROUP, {"tags": {"made": "again"}}).tags)
refused("group: a missing one is named so", "ResourceGroupNotFound", lambda: groups.get("missing"))
# left to itself the SDK asks for a token for Azure's public endpoint; the region takes that audience as its own
plain = ResourceManagementClient(credential, SUBSCRIPTION, base_url=MANAGEMENT)
check("group: also with the SDK's default audience", LOCATION, plain.resource_groups.get(GROUP).location)

# an account, waited for as the SDK waits
wish = {"location": LOCATION, "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}
account = accounts.storage_accounts.begin_create(GROUP, ACCOUNT, wish).result()
check("account: created", (ACCOUNT, "Succeeded"), (account.name, account.provisioning_state))
check("account: listed", [ACCOUNT], [each.name for each in accounts.storage_accounts.list_by_resource_group(GROUP)])
check("account: read back", account.id, accounts.storage_accounts.get_properties(GROUP, ACCOUNT).id)
check("account: its name is taken", False, accounts.storage_accounts.check_name_availability({"name": ACCOUNT}).name_available)
listed = resources.resources.list_by_resource_group(GROUP)
check("resources: the account", [(ACCOUNT, "Microsoft.Storage/storageAccounts")], [(each.name, each.type) for each in listed])
keys = {key.key_name: key.value for key in accounts.storage_accounts.list_keys(GROUP, ACCOUNT).keys_property}
check("account: two keys", ["key1", "key2"], sorted(keys))
renewed = accounts.storage_accounts.regenerate_key(GROUP, ACCOUNT, {"keyName": "key2"}).keys_property
renewed = {key.key_name: key.value for key in renewed}
check("account: one key renewed, the other kept", (True, False), (renewed["key1"] == keys["key1"], renewed["key2"] == keys["key2"]))

# who am I: the object that roles are given to
claims = credential.get_token(scope).token.split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
check("token: of this tenant", READY["tenant"], claims["tid"])
check("token: for this program", os.environ["AZURE_CLIENT_ID"], claims["appid"])

# data: no role, no data; then the role, then data
blobs = BlobServiceClient(account.primary_endpoints.blob, credential)
data = blobs.get_container_client("data")
# an owner holds the management action for containers, as in Azure, but nothing that reaches what is in them
data.create_container()
refused("data: no role, nothing written", "AuthorizationPermissionMismatch", lambda: data.upload_blob("hello.txt", b"bonjour"))
refused("data: no role, nothing listed", "AuthorizationPermissionMismatch", lambda: list(data.list_blobs()))
refused("data: no role, nothing read", "AuthorizationPermissionMismatch", lambda: data.download_blob("hello.txt"))
definitions = list(roles.role_definitions.list(f"/subscriptions/{SUBSCRIPTION}", filter="roleName eq 'Storage Blob Data Contributor'"))
check("role: found by name, with Azure's id", [DATA_CONTRIBUTOR], [each.name for each in definitions])
grant = {"properties": {"roleDefinitionId": definitions[0].id, "principalId": claims["oid"], "principalType": "ServicePrincipal"}}
name = str(uuid.uuid4())
given = roles.role_assignments.create(account.id, name, grant)
check("role: given", claims["oid"], given.principal_id)
refused(
    "role: not given twice under another name",
    "RoleAssignmentExists",
    lambda: roles.role_assignments.create(account.id, str(uuid.uuid4()), grant),
)
found = roles.role_assignments.list_for_scope(account.id, filter=f"principalId eq '{claims['oid']}'")
check("role: listed", True, name in [each.name for each in found])
data.upload_blob("hello.txt", b"bonjour")
check("data: read back", b"bonjour", data.download_blob("hello.txt").readall())
roles.role_assignments.delete(account.id, name)
refused("data: nothing once the role is taken back", "AuthorizationPermissionMismatch", lambda: data.download_blob("hello.txt"))

# bad credentials
stranger = ClientSecretCredential("adfs", os.environ["AZURE_CLIENT_ID"], "not-the-secret", authority=os.environ["AZURE_AUTHORITY_HOST"])
error = raises("a wrong secret", ClientAuthenticationError, lambda: stranger.get_token(scope))
check("a wrong secret is said to be one", True, "AADSTS7000215" in str(error))
elsewhere = ResourceManagementClient(credential, str(uuid.uuid4()), **here)
refused("another subscription is not found", "SubscriptionNotFound", lambda: list(elsewhere.resource_groups.list()))

# clear up
accounts.storage_accounts.delete(GROUP, ACCOUNT)
raises("account: gone", ResourceNotFoundError, lambda: accounts.storage_accounts.get_properties(GROUP, ACCOUNT))
groups.begin_delete(GROUP).result()
check("group: gone", False, groups.check_existence(GROUP))
