//! How batches succeed and fail.
