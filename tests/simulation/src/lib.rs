//! The controllers against a faulty API in virtual time, from one seed.
