"""Where rows come from. Only here are vendors' SDKs imported; `open.py` turns a name into a source."""
