-- name: lock_trail
select pg_advisory_xact_lock(hashtextextended(%(subject)s, 0))

-- name: is_noted
select 1 from audit where subject = %(subject)s and action = %(action)s limit 1
