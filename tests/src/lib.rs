//! One test binary, later.
