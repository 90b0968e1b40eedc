"""Where rows live. Only here are storage SDKs imported; `open.py` turns a URL into a store."""
