"""CPU microseconds per request of demijohn beside nginx and its peers: `python -m bench`."""
