//! The blob service in a region in memory, called as a client calls it: through the gateway, signed.

mod world;

mod access;
mod blobs;
mod blocks;
mod hostile;
mod lists;
mod management;
mod overtaken;
