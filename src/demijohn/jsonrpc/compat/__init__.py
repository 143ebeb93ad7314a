"""Modules that programs written for Flask-JSONRPC import by its names, beyond what `demijohn.jsonrpc` itself offers.

Nothing of demijohn needs them: with the drop-in alias `flask_jsonrpc.conf` is `demijohn.jsonrpc.compat.conf`. Some need
pydantic, as Flask-JSONRPC does.
"""
