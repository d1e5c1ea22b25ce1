-- What there is to copy.

-- name: tables
select table_schema, table_name
from information_schema.tables
where table_catalog = 'lake'
order by table_schema, table_name
