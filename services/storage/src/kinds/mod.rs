//! Resource types of Microsoft.Storage.

pub mod storage_accounts;
