//! What every Portolan program shares: watches, lease, admin server, events, shutdown.
