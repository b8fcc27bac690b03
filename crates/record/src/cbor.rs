//! How the words of `base` are spelt in CBOR: GUIDs as 16 bytes, resource ids and addresses as text.
//!
//! Each pair here serves `#[cbor(with = "…")]`. A value with several spellings is caught above, where the decoded
//! struct is encoded again and compared ([`decode_strict`]).

use base::{AppId, ObjectId, OperationId, RequestId, TenantId};
use minicbor::decode::{Decode, Decoder, Error as DecodeError};
use minicbor::encode::{Encode, Encoder, Error as EncodeError, Write};
use uuid::Uuid;

/// Decodes the whole of `bytes` and refuses them unless they are what encoding the result gives: no long integers, no
/// indefinite lengths, no unknown fields, nothing after the end.
pub(crate) fn decode_strict<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Result<T, String> {
    let value: T = minicbor::decode(bytes).map_err(|e| e.to_string())?;
    if to_vec(&value) != bytes {
        return Err("the bytes are not in canonical form".into());
    }
    Ok(value)
}

pub(crate) fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    // writing CBOR into memory cannot fail, and none of our types refuses to be encoded
    minicbor::to_vec(value).expect("memory takes bytes")
}

pub(crate) trait Guid: Copy {
    fn uuid(self) -> Uuid;
    fn of(uuid: Uuid) -> Self;
}
macro_rules! guids {
    ($($name:ident)*) => {$(
        impl Guid for $name {
            fn uuid(self) -> Uuid { self.0 }
            fn of(uuid: Uuid) -> Self { $name(uuid) }
        }
    )*};
}
guids!(TenantId ObjectId RequestId OperationId AppId);

pub(crate) mod guid {
    use super::*;
    pub(crate) fn encode<C, T: Guid, W: Write>(id: &T, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(id.uuid().as_bytes())?.ok()
    }
    pub(crate) fn decode<C, T: Guid>(d: &mut Decoder<'_>, _: &mut C) -> Result<T, DecodeError> {
        let bytes = d.bytes()?.try_into().map_err(|_| DecodeError::message("a GUID is 16 bytes"))?;
        Ok(T::of(Uuid::from_bytes(bytes)))
    }
}

pub(crate) mod optional_guid {
    use super::*;
    pub(crate) fn encode<C, T: Guid, W: Write>(id: &Option<T>, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        match id {
            Some(id) => guid::encode(id, e, c),
            None => e.null()?.ok(),
        }
    }
    pub(crate) fn decode<C, T: Guid>(d: &mut Decoder<'_>, c: &mut C) -> Result<Option<T>, DecodeError> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(None);
        }
        guid::decode(d, c).map(Some)
    }
}

pub(crate) mod resource {
    use super::*;
    use base::ResourceId;
    pub(crate) fn encode<C, W: Write>(id: &ResourceId, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.str(id.as_str())?.ok()
    }
    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<ResourceId, DecodeError> {
        ResourceId::parse(d.str()?).map_err(|e| DecodeError::message(e.message))
    }
}

pub(crate) mod site {
    use super::*;
    use base::SiteName;
    pub(crate) fn encode<C, W: Write>(site: &SiteName, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.str(site.as_str())?.ok()
    }
    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<SiteName, DecodeError> {
        SiteName::new(d.str()?).map_err(|e| DecodeError::message(e.message))
    }
}

pub(crate) mod address {
    use super::*;
    use std::net::IpAddr;
    pub(crate) fn encode<C, W: Write>(from: &Option<IpAddr>, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        match from {
            Some(ip) => e.str(&ip.to_string())?.ok(),
            None => e.null()?.ok(),
        }
    }
    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<IpAddr>, DecodeError> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(None);
        }
        d.str()?.parse().map(Some).map_err(|_| DecodeError::message("not an IP address"))
    }
}
