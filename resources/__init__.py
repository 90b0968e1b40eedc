"""Dagster resources: each holds the URL of one backend and hands its store to an asset, as a port.

An asset asks for a port (`lake: dg.ResourceParam[Lake]`), not for a class of this package, so any object with the
port's methods may stand in. Nothing connects, and no server starts, before an asset uses the store.

Here belong URLs and how a store is opened and closed. What is done with a store belongs in `thermocline.tasks`.
"""
