-- What people should look at: lanes in trouble, what is in doubt for long, dead letters, what nobody sends.
-- Every question answers with the same columns: subject, messages, since, detail.

-- name: note_trouble
insert into lane_trouble (lane, kind, problem) values (%(lane)s, %(kind)s, %(problem)s)
on conflict (lane) do update
set kind = excluded.kind, problem = excluded.problem, seen_at = now(),
    since = case when lane_trouble.kind = excluded.kind then lane_trouble.since else now() end

-- name: clear_trouble
delete from lane_trouble where lane = %(lane)s

-- name: lanes_in_trouble
-- What nobody has seen for a day belongs to a lane that nobody uses any more.
select lane as subject, 0::bigint as messages, since, problem as detail
from lane_trouble
where kind = %(kind)s and seen_at > now() - interval '1 day'
order by lane

-- name: in_doubt
select send_id as subject, sum(message_count)::bigint as messages, min(sending_at) as since,
       string_agg(distinct lane, ', ') as detail
from batch
where status = 'unknown' and sending_at < now() - make_interval(secs => %(bound_seconds)s)
group by send_id order by send_id

-- name: dead_letters
select send_id as subject, sum(message_count)::bigint as messages, min(created_at) as since,
       coalesce(max(last_error), '') as detail
from batch
where status = 'dead' and payload is not null
group by send_id order by send_id

-- name: overdue
-- Bulk that is due and on which nobody has worked for so long. Large sends take hours: that alone is no reason.
with waiting as (
    select b.send_id, b.lane, b.message_count, coalesce(b.lease_until, b.due_at) as since
    from batch b join send s using (send_id)
    where s.status = 'sending' and b.priority > %(urgent_priority)s
      and b.status in ('planned', 'claimed', 'sending')
      and coalesce(b.lease_until, b.due_at) < now() - make_interval(secs => %(bound_seconds)s)
      and not exists (select from stop where scope in ('all', 'lane:' || b.lane, 'channel:' || b.channel,
                                                       'organisation:' || b.organisation_id))
)
select w.send_id as subject, sum(w.message_count)::bigint as messages, min(w.since) as since,
       string_agg(distinct w.lane, ', ') as detail
from waiting w
where not exists (select from batch p where p.send_id = w.send_id and p.lane = w.lane
                  and (p.settled_at > now() - make_interval(secs => %(bound_seconds)s)
                       or (p.status in ('claimed', 'sending') and p.lease_until > now())))
group by w.send_id order by w.send_id

-- name: urgent_overdue
select b.lane as subject, sum(b.message_count)::bigint as messages, min(coalesce(b.lease_until, b.due_at)) as since,
       '' as detail
from batch b join send s using (send_id)
where s.status = 'sending' and b.priority <= %(urgent_priority)s and b.status in ('planned', 'claimed', 'sending')
  and coalesce(b.lease_until, b.due_at) < now() - make_interval(secs => %(bound_seconds)s)
  and not exists (select from stop where scope in ('all', 'lane:' || b.lane, 'channel:' || b.channel,
                                                   'organisation:' || b.organisation_id))
group by b.lane order by b.lane
