"""Models: what each derived table of the lake is, read from its file under `warehouse/lake/models`. Runs nothing."""
