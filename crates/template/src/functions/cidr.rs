//! Address ranges (RFC 4632, RFC 4291 section 2.3).

use super::Arguments;
use crate::words::Got;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy)]
struct Range {
    /// The first address, in the low bits.
    network: u128,
    prefix: u32,
    /// 32 or 128.
    width: u32,
}

impl Range {
    fn read(text: &str) -> Option<Range> {
        let (address, prefix) = text.split_once('/')?;
        let (bits, width) = match address.parse().ok()? {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        let prefix = prefix.parse().ok().filter(|p| *p <= width && prefix.bytes().all(|b| b.is_ascii_digit()))?;
        let range = Range { network: 0, prefix, width };
        Some(Range { network: bits & !range.hosts(), ..range })
    }
    /// The bits of the host part.
    fn hosts(self) -> u128 {
        ones(self.width - self.prefix)
    }
    fn last(self) -> u128 {
        self.network | self.hosts()
    }
    fn text(self, address: u128) -> String {
        if self.width == 32 { Ipv4Addr::from(address as u32).to_string() } else { Ipv6Addr::from(address).to_string() }
    }
}

fn ones(count: u32) -> u128 {
    if count == 0 { 0 } else { u128::MAX >> (128 - count) }
}

fn range(a: &Arguments) -> Got<Range> {
    Range::read(a.text(0)?).map_or_else(|| a.fails("the text is not an address range in CIDR notation"), Ok)
}

pub(super) fn parse(a: &mut Arguments) -> Got {
    let range = range(a)?;
    // an IPv4 range of two addresses or one has no network address and no broadcast (RFC 3021)
    let plain = range.width == 128 || range.prefix >= 31;
    let (first, last) = if plain { (range.network, range.last()) } else { (range.network + 1, range.last() - 1) };
    let mut out = json!({
        "network": range.text(range.network),
        "netmask": range.text(ones(range.width) & !range.hosts()),
    });
    if range.width == 32 {
        out["broadcast"] = json!(range.text(range.last()));
    }
    out["firstUsable"] = json!(range.text(first));
    out["lastUsable"] = json!(range.text(last));
    out["cidr"] = json!(range.prefix);
    Ok(out)
}

pub(super) fn subnet(a: &mut Arguments) -> Got {
    let range = range(a)?;
    let (prefix, index) = (a.integer(1)?, a.integer(2)?);
    let prefix = u32::try_from(prefix).ok().filter(|p| (range.prefix..=range.width).contains(p));
    let Some(prefix) = prefix else { return a.fails("the new prefix is not inside the range") };
    let Some(index) = u128::try_from(index).ok().filter(|i| *i <= ones(prefix - range.prefix)) else {
        return a.fails("the range has no subnet of this index");
    };
    let shift = range.width - prefix;
    let moved = if shift == 128 { 0 } else { index << shift };
    Ok(Value::String(format!("{}/{prefix}", range.text(range.network | moved))))
}

/// The n-th usable address, from 0.
pub(super) fn host(a: &mut Arguments) -> Got {
    let range = range(a)?;
    let index = u128::try_from(a.integer(1)?).ok();
    let (skip, end) =
        if range.width == 32 && range.prefix < 31 { (1, range.last() - 1) } else { (u128::from(range.width == 128), range.last()) };
    let address = index.and_then(|i| range.network.checked_add(i)?.checked_add(skip)).filter(|at| *at <= end);
    address.map_or_else(|| a.fails("the range has no host of this index"), |at| Ok(Value::String(range.text(at))))
}
