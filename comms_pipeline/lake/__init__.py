"""DuckLake: history and analytics. Hides DuckDB, the catalog and the write lock from everyone else."""
