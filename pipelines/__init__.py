"""What runs: jobs, schedules, partitions and the definitions that Dagster loads.

Here belongs when something runs and what belongs together in one run. What exists is in `assets`, where it is in
`resources`. Nothing here connects or starts a server, at import or when definitions are built.
"""
