"""Packaging: what a container image of an application is built from."""
