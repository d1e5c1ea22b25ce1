-- National do-not-call registries.

-- name: open_incoming
create temporary table incoming_numbers (address_key bytea not null) on commit drop

-- name: copy_incoming
copy incoming_numbers (address_key) from stdin

-- name: put_list
with before as (
    select jsonb_build_object('numbers', numbers, 'imported_at', imported_at) as state
    from do_not_call_list where list_id = %(list_id)s
), put as (
    insert into do_not_call_list (list_id, numbers)
    select %(list_id)s, count(distinct address_key) from incoming_numbers
    on conflict (list_id) do update set numbers = excluded.numbers, imported_at = now()
    returning jsonb_build_object('numbers', numbers, 'imported_at', imported_at) as state
)
insert into audit (actor, action, subject, details)
select %(actor)s, 'do_not_call', %(list_id)s,
       jsonb_build_object('before', (select state from before), 'after', put.state)
from put
returning (details -> 'after' ->> 'numbers')::bigint

-- name: remove_gone
delete from do_not_call d
where d.list_id = %(list_id)s
  and not exists (select from incoming_numbers i where i.address_key = d.address_key)

-- name: add_new
insert into do_not_call (list_id, address_key)
select distinct %(list_id)s, address_key from incoming_numbers
on conflict do nothing

-- name: close_incoming
drop table incoming_numbers

-- name: listed
select distinct address_key from do_not_call
where address_key = any(array(
    select substring(%(address_keys)s::bytea from 16 * n + 1 for 16)
    from generate_series(0, length(%(address_keys)s::bytea) / 16 - 1) as n))

-- name: lists
select list_id, numbers, imported_at from do_not_call_list order by list_id
