//! Portolan's tests across crates: repository rules, network namespaces, real cluster.
