-- How fast, and how many: token buckets of the lanes, quotas of organisations and lanes.

-- name: open_bucket
insert into rate_bucket (bucket, tokens) values (%(bucket)s, %(burst)s) on conflict do nothing

-- name: take_tokens
-- Refills by the time gone by, then takes up to what is wanted. No row is granted more than it holds, whoever asks.
with state as (
    select case when blocked_until > clock_timestamp() then 0
                else least(%(burst)s, tokens + extract(epoch from clock_timestamp() - updated_at)
                                               * %(per_second)s * share)
           end::float8 as available,
           greatest(extract(epoch from blocked_until - clock_timestamp()), 0)::float8 as blocked_seconds,
           share
    from rate_bucket where bucket = %(bucket)s for update
), taken as (
    select available, share, coalesce(blocked_seconds, 0) as blocked_seconds,
           least(floor(available), %(wanted)s) as granted
    from state
)
update rate_bucket b
set tokens = taken.available - taken.granted, updated_at = clock_timestamp()
from taken where b.bucket = %(bucket)s
returning taken.granted::int,
          case when taken.granted > 0 then 0
               else greatest(taken.blocked_seconds, (1 - taken.available) / (%(per_second)s * taken.share))
          end::float8 as wait_seconds

-- name: give_back
update rate_bucket set tokens = least(%(burst)s, tokens + %(tokens)s) where bucket = %(bucket)s

-- name: slow_down
-- The provider said "too many": nothing before its time, then half as fast.
update rate_bucket
set blocked_until = greatest(coalesce(blocked_until, 'epoch'), clock_timestamp() + make_interval(secs => %(seconds)s)),
    share = greatest(share / 2, 0.05), tokens = 0, updated_at = clock_timestamp()
where bucket = %(bucket)s

-- name: speed_up
-- A little faster with every batch that went well, until the full rate.
update rate_bucket set share = least(share * 1.1, 1) where bucket = %(bucket)s and share < 1

-- name: put_quota
insert into quota (scope, period, allowed) values (%(scope)s, %(period)s, %(allowed)s)
on conflict (scope, period) do update set allowed = excluded.allowed
where quota.allowed is distinct from excluded.allowed

-- name: drop_quota
delete from quota where scope = %(scope)s and period = %(period)s

-- name: keep_quotas
delete from quota where starts_with(scope, %(prefix)s) and not scope = any(%(scopes)s)

-- name: today
select (now() at time zone 'UTC')::date as today

-- name: open_periods
-- The current period of every quota that holds for these scopes, locked: whoever counts next waits.
with due as (
    select q.scope, q.period, q.allowed, date_trunc(q.period, now(), 'UTC') as starts_at
    from quota q where q.scope = any(%(scopes)s)
), opened as (
    insert into quota_use (scope, period, starts_at)
    select scope, period, starts_at from due order by scope, period
    on conflict (scope, period, starts_at) do update set used = quota_use.used
    returning scope, period, starts_at, used
)
select d.scope, d.period, d.starts_at, d.starts_at + ('1 ' || d.period)::interval as ends_at,
       d.allowed, d.allowed - o.used as remaining
from due d join opened o using (scope, period, starts_at)
order by d.scope, d.period

-- name: use_quota
update quota_use u set used = u.used + n.used
from unnest(%(scopes)s::text[], %(periods)s::text[], %(starts_at)s::timestamptz[], %(used)s::bigint[])
    as n (scope, period, starts_at, used)
where u.scope = n.scope and u.period = n.period and u.starts_at = n.starts_at

-- name: quotas
select q.scope, q.period, q.allowed, coalesce(u.used, 0) as used
from quota q
left join quota_use u on u.scope = q.scope and u.period = q.period
     and u.starts_at = date_trunc(q.period, now(), 'UTC')
order by q.scope, q.period

-- name: purge_quota_use
delete from quota_use where starts_at < now() - interval '40 days'
