-- What alert rules measure in the ledger. Every query answers: subject, value, sample. Windows are in seconds.

-- name: error_share
-- By lane: of the messages that were called for within the window, the share that the provider did not take at once.
with called as (
    select lane, message_count, status in ('unknown', 'dead') or parent_batch_id is not null as is_error
    from batch
    where (status = 'settled' and settled_at > now() - make_interval(secs => %(window_seconds)s))
       or (status = 'unknown' and sending_at > now() - make_interval(secs => %(window_seconds)s))
       or (status in ('planned', 'dead') and parent_batch_id is not null and last_error is not null
           and created_at > now() - make_interval(secs => %(window_seconds)s))
)
select lane as subject, sum(message_count) filter (where is_error)::float8 / sum(message_count) as value,
       sum(message_count)::bigint as sample
from called group by lane

-- name: waiting_messages
-- By lane: messages due for longer than the window while nothing of the lane was settled within it. A large send that
-- is being worked on is no trouble, however much waits.
select b.lane as subject, sum(b.message_count)::float8 as value, sum(b.message_count)::bigint as sample
from batch b join send s using (send_id)
where s.status = 'sending' and b.status = 'planned'
  and b.due_at < now() - make_interval(secs => %(window_seconds)s)
  and not exists (select from stop where scope in ('all', 'lane:' || b.lane, 'channel:' || b.channel,
                                                   'organisation:' || b.organisation_id))
  and not exists (select from batch p where p.lane = b.lane
                  and p.settled_at > now() - make_interval(secs => %(window_seconds)s))
group by b.lane

-- name: urgent_latency_ms
-- By lane: how long messages that cannot wait took from when they were due to their outcome, on average.
select lane as subject,
       1000 * avg(extract(epoch from settled_at - greatest(due_at, created_at)))::float8 as value,
       count(*) as sample
from batch
where status = 'settled' and priority <= 1 and parent_batch_id is null
  and settled_at > now() - make_interval(secs => %(window_seconds)s)
group by lane

-- name: quota_share
-- By quota: how much of what is allowed in the current hour or day is used.
select q.scope || ' per ' || q.period as subject, u.used::float8 / q.allowed as value, q.allowed as sample
from quota q
join quota_use u using (scope, period)
where q.allowed > 0 and u.starts_at = date_trunc(q.period, now(), 'UTC')

-- name: slowed_share
-- By lane: how far the provider has us slow down (0 not at all). What was told long ago says nothing of now.
select bucket as subject, (1 - share)::float8 as value, 1::bigint as sample
from rate_bucket
where share < 1 and updated_at > now() - make_interval(secs => %(window_seconds)s)
