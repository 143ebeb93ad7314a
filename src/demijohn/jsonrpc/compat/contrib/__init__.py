"""Flask-JSONRPC's extras: the page with its hooks, and OpenRPC."""
