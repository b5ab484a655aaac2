"""Policy decisions, sessions, limits and audit events of an access service, kept in Valkey; in the process unless a URL names a server."""
