-- Alerts as people were told of them.

-- name: one_at_a_time
-- Two processes that watch must not both open the same notice.
select pg_advisory_xact_lock(hashtext('notices'))

-- name: open_or_refresh
insert into notice (key, severity, subject, what, fix, since)
values (%(key)s, %(severity)s, %(subject)s, %(what)s, %(fix)s, %(since)s)
on conflict (key) where resolved_at is null do update
set severity = excluded.severity, what = excluded.what, fix = excluded.fix, gone_since = null

-- name: mark_gone
update notice set gone_since = %(now)s
where resolved_at is null and gone_since is null and not key = any(%(keys)s::text[])

-- name: resolve
-- What comes and goes within the time is one notice, not many.
update notice set resolved_at = gone_since
where resolved_at is null and gone_since <= %(now)s::timestamptz - make_interval(secs => %(settling_seconds)s)

-- name: open
select notice_id, key, severity, subject, what, fix, since, resolved_at
from notice where resolved_at is null and gone_since is null
order by severity, since, notice_id

-- name: to_tell
-- Over and never told of: nobody needs to hear that either.
select notice_id, key, severity, subject, what, fix, since, resolved_at
from notice n
join unnest(%(severities)s::text[], %(again_seconds)s::float8[]) r(severity, again_seconds) using (severity)
where (resolved_at is null and gone_since is null
       and (told_at is null or told_at <= %(now)s::timestamptz - make_interval(secs => r.again_seconds)))
   or (resolved_at is not null and told_at is not null and told_resolved_at is null)
order by severity, since, notice_id

-- name: mark_told
update notice set told_at = case when resolved_at is null then %(now)s else told_at end,
                  told_resolved_at = case when resolved_at is not null then %(now)s else told_resolved_at end
where notice_id = any(%(notice_ids)s)

-- name: forget
delete from notice where resolved_at < now() - make_interval(days => %(days)s)
