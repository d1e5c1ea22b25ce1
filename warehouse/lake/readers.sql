-- Roles that may read the lake's catalog. Run in the catalog's database; names are filled in quoted.

-- name: role
-- Whether it could do more than read, if it is there.
select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls
       or exists (select from pg_class c where c.relowner = r.oid)
from pg_roles r where rolname = {name}

-- name: create
create role {role} login nosuperuser nocreatedb nocreaterole noinherit

-- name: password
alter role {role} password {password}

-- name: grant
grant connect on database {database} to {role};
grant usage on schema public to {role};
grant select on all tables in schema public to {role};
-- DuckLake makes tables as it goes along.
alter default privileges in schema public grant select on tables to {role};
alter role {role} set default_transaction_read_only = on
