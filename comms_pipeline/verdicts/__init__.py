"""Who opened and clicked, judged by rules that are data: a person, a machine, a privacy proxy, or nobody knows.

Pure: columns in, columns out. Reading events and writing verdicts is the loader's work.
"""
