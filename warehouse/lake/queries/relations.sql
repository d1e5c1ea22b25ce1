-- What tables and views the lake has.

-- name: views
select schema_name || '.' || view_name from duckdb_views() where database_name = $lake and not internal

-- name: columns
select schema_name || '.' || table_name, column_name, data_type
from duckdb_columns() where database_name = $lake order by table_oid, column_index
