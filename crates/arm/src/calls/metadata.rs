//! What a client reads before it signs in: where everything is. Never behind a credential.
//!
//! Asked at a bare host (`localhost`), every address in the answer is on that host, so that nothing else has to
//! resolve; asked at `management.{domain}`, each service has its own name. The sign-in address ends in `/adfs`: with
//! it, clients ask no one outside about the authority.

use crate::Arm;
use crate::paging::base_url;
use base::Result;
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Head, Neighbours, Public, Reply, Urls};
use std::sync::Arc;

pub(crate) async fn endpoints(_: Arc<Arm>, call: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let body = match call.head.query.get("api-version").unwrap_or("2022-09-01") {
        "1.0" | "2015-01-01" => flat(&call.head),
        version if version < "2022-01-01" => json!([object(&call.head)]),
        _ => object(&call.head),
    };
    Ok(Reply::json(public.receipt(), StatusCode::OK, &body))
}

/// No images yet, said in the shape that `az vm create` reads.
pub(crate) async fn aliases(_: Arc<Arm>, _: Call, public: Public, _: Neighbours) -> Result<Reply> {
    let body = json!({
        "$schema": "http://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json",
        "contentVersion": "1.0.0.0", "parameters": {}, "variables": {}, "resources": [],
        "outputs": {"aliases": {"type": "object", "value": {"Linux": {}, "Windows": {}}}},
    });
    Ok(Reply::json(public.receipt(), StatusCode::OK, &body))
}

struct Addresses {
    management: String,
    login: String,
    graph: String,
    portal: String,
}

fn addresses(head: &Head) -> Addresses {
    if head.host == format!("management.{}", head.urls.domain) {
        let urls = &head.urls;
        return Addresses {
            management: urls.host("management"),
            login: format!("{}/adfs", urls.host("login")),
            graph: urls.host("graph"),
            portal: urls.host("portal"),
        };
    }
    let base = base_url(head);
    Addresses { login: format!("{base}/adfs"), graph: base.clone(), portal: base.clone(), management: base }
}

/// Where a caller without a valid token signs in.
pub(crate) fn login_url(head: &Head) -> String {
    addresses(head).login
}

fn object(head: &Head) -> Value {
    let at = addresses(head);
    let suffix = |label: &str| head.urls.suffix(label);
    json!({
        "name": "BleuLocal",
        "resourceManager": format!("{}/", at.management),
        "portal": format!("{}/", at.portal),
        "gallery": format!("{}/", at.management),
        "graph": format!("{}/", at.graph),
        "graphAudience": format!("{}/", at.graph),
        "microsoftGraphResourceId": format!("{}/", at.graph),
        "vmImageAliasDoc": format!("{}/images/aliases.json", at.management),
        "authentication": {
            "loginEndpoint": at.login,
            "audiences": [format!("{}/", at.management), at.management],
            "tenant": "common",
            // "ADFS" would make Go clients think of Azure Stack
            "identityProvider": "AAD",
        },
        "suffixes": {
            "storage": suffix("core"),
            "keyVaultDns": suffix("vault"),
        },
    })
}

/// As a template's `environment()` sees it.
pub(crate) fn environment(urls: &Urls) -> Value {
    let local = urls.local();
    json!({
        "name": "BleuLocal",
        "resourceManager": format!("{local}/"),
        "portal": format!("{local}/"),
        "gallery": format!("{local}/"),
        "graph": format!("{local}/"),
        "graphAudience": format!("{local}/"),
        "authentication": {
            "loginEndpoint": format!("{local}/"),
            "audiences": [format!("{local}/"), local],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {"storage": urls.suffix("core"), "keyvaultDns": format!(".{}", urls.suffix("vault"))},
    })
}

fn flat(head: &Head) -> Value {
    let at = addresses(head);
    json!({
        "galleryEndpoint": format!("{}/", at.management),
        "graphEndpoint": format!("{}/", at.graph),
        "portalEndpoint": format!("{}/", at.portal),
        "authentication": {"loginEndpoint": at.login, "audiences": [format!("{}/", at.management)]},
    })
}
