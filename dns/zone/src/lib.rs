//! Cluster DNS: the pure zone, query and state to answer.
