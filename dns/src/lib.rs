//! Cluster DNS server and forwarder.
