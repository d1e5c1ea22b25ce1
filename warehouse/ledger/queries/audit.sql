-- Who changed what.

-- name: note
insert into audit (actor, action, subject, details)
values (%(actor)s, %(action)s, %(subject)s, %(details)s)

-- name: of_subject
select at, actor, action, subject, details
from audit where subject = any(%(subjects)s::text[])
order by audit_id
