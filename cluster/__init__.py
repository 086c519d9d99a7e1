"""The same requests on Ray workers, which all give the bits of one machine.

`ray` is imported by what needs it, and that when it is asked for:

    work.py      what is left to do: pieces, retries, whose fault a failure is
    crew.py      the workers at work: the driver gives it out, and hears what comes of it
    roster.py    who they are: started, compared, left out
    hand.py      one of them: what it is to be, what it has to do; told.py: what is said of it
    lines.py     calls to them, over Ray; process.py is at the far end
    worker.py    what runs in a worker; lively.py has it say how far it is
    weights.py   a model's files, sent once to each node
    engine.py    an `Engine` whose images a crew makes
    cluster.py   the connection to Ray, head.py what is asked over it; standing.py keeps it from run
                 to run
"""
