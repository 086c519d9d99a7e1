"""The same requests on Ray workers, which all give the bits of one machine.

Nothing of it is imported unless it is asked for, and `ray` only where it is needed:

    work.py      what is left to do: pieces, retries, whose fault a failure is
    crew.py      the workers as the driver sees them; it gives out work and hears what comes of it
    hand.py      one of them: what it is to be, what it has to do; told.py: what is said of it
    lines.py     calls to them, over Ray
    worker.py    what runs in a worker
    weights.py   a model's files, sent once to each node
    engine.py    an `Engine` whose images a crew makes
    cluster.py   the connection to Ray
"""
