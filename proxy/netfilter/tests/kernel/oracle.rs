//! What `nft` installs, read by our decoder.
