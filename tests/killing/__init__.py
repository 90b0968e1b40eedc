"""A process that works and is killed for good, again and again, beside a plain model of what it should have done.

`rows` are what is put in and expected back; `acts` are what a process does before it dies, the verbs of the Python API;
`zygote` is a process that forks others, which die by SIGKILL where they are told to; `world` is a server, a lake, and
what everybody sees; `states` are where to begin from; `soak` is an endless mix of all that, from a seed.
"""
