//! The tests of the whole house are one binary: `tests/tests/house/`.
