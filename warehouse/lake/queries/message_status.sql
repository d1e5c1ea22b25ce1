-- core.message_status: for the messages of the temporary table `touched`, part by part, and for those that are
-- planned only.

-- name: planned
-- What the plan says of messages.
select message_id, send_id, contact_id, channel, variant, lane,
       ['0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0'][least(5, 1 + floor(score * 5)::integer)] as score_band,
       segments, cost_micros, currency as cost_currency, coalesce(domain, '(unknown)') as domain, time_zone, due_at
from campaign.messages

-- name: add_planned
-- Messages of a send that nobody has noted yet: they wait.
insert into core.message_status by name
select p.* exclude (due_at), n.campaign_id, n.organisation_id, make_timestamp(epoch_us(p.due_at))::date as day,
       'planned' as status, 0 as status_rank, 'waiting' as state,
       0 as opens, 0 as human_opens, 0 as clicks, 0 as human_clicks, $now::timestamptz as updated_at
from ({planned}) p
join campaign.sends n using (send_id)
where p.send_id = $send_id
  and p.message_id not in (select message_id from core.message_status where send_id = $send_id)

-- name: from_before
select 1 from core.message_status where state is null limit 1

-- name: touch_new
-- Messages of which outcomes or events have come since.
create or replace temp table touched as
select message_id from core.events
where {events} and message_id is not null and match is distinct from 'unmatched'
union
select message_id from core.outcomes where {outcomes}
union
-- Plans are noted when they are written: only where everything is computed anew do they count.
select message_id from campaign.messages where {plans}

-- name: remove_touched
delete from core.message_status where message_id in (select message_id from touched)

-- name: take_part
create or replace temp table part_of_touched as
from touched where hash(message_id) % $parts::ubigint = $part

-- name: add_part
-- The furthest step is the status, whatever the order in which steps were told. Engagement comes after delivery, and
-- what went wrong in the end after what looked well before it: a mailbox may take a message and bounce it later.
insert into core.message_status by name
with ranks (status, status_rank) as (
    values ('planned', 0), ('unknown', 5), ('cancelled', 10), ('refused', 11), ('accepted', 20), ('sent', 30),
           ('deferred', 40), ('delivered', 50), ('failed', 51), ('bounced', 52), ('opened', 60), ('clicked', 61),
           ('unsubscribed', 70), ('complained', 71)
), of_event (kind, status) as (
    values ('queued', 'accepted'), ('sent', 'sent'), ('deferred', 'deferred'), ('delivered', 'delivered'),
           ('rejected', 'failed'), ('failed', 'failed'), ('blocked', 'failed'), ('bounced', 'bounced'),
           ('opened', 'opened'), ('clicked', 'clicked'), ('unsubscribed', 'unsubscribed'),
           ('complained', 'complained')
), of_outcome (outcome, status) as (
    -- Deferred by us: it goes on waiting.
    values ('deferred', 'planned'), ('unknown', 'unknown'), ('cancelled', 'cancelled'), ('refused', 'refused'),
           ('accepted', 'accepted')
), told as (
    select message_id,
           max(r.status_rank) as status_rank,
           min(occurred_at) filter (s.status = 'accepted') as queued_at,
           min(occurred_at) filter (s.status = 'sent') as sent_at,
           min(occurred_at) filter (s.status = 'deferred') as deferred_at,
           min(occurred_at) filter (s.status = 'delivered') as delivered_at,
           min(occurred_at) filter (s.status = 'bounced') as bounced_at,
           min(occurred_at) filter (s.status = 'failed') as failed_at,
           min(occurred_at) filter (s.status = 'opened') as first_opened_at,
           min(occurred_at) filter (s.status = 'opened' and verdict = 'human') as first_human_opened_at,
           min(occurred_at) filter (s.status = 'clicked') as first_clicked_at,
           min(occurred_at) filter (s.status = 'clicked' and verdict = 'human') as first_human_clicked_at,
           min(occurred_at) filter (s.status = 'complained') as complained_at,
           min(occurred_at) filter (s.status = 'unsubscribed') as unsubscribed_at,
           count(*) filter (s.status = 'opened') as opens,
           count(*) filter (s.status = 'opened' and verdict = 'human') as human_opens,
           count(*) filter (s.status = 'clicked') as clicks,
           count(*) filter (s.status = 'clicked' and verdict = 'human') as human_clicks,
           max({{moment: occurred_at, kind: e.kind, code: code, reason: reason}})
               filter (s.status in ('bounced', 'failed')) as loss,
           max(occurred_at) as last_event_at
    from core.events e
    semi join part_of_touched using (message_id)
    left join of_event s on s.kind = e.kind
    left join ranks r on r.status = s.status
    where match is distinct from 'unmatched'
    group by message_id
), answered as (
    select message_id, arg_max(r.status_rank, outcome_id) as status_rank, max(send_id) as send_id,
           min(recorded_at) filter (o.status = 'accepted') as accepted_at,
           -- Whoever answered last has it; the plan names the first choice.
           arg_max(provider, outcome_id) as provider,
           -- One structure: each field apart would take the last answer that has it.
           arg_max({{status: o.status, reason: o.reason}}, outcome_id) filter (o.status <> 'accepted') as refused
    from core.outcomes o
    semi join part_of_touched using (message_id)
    left join of_outcome s on s.outcome = o.status
    left join ranks r on r.status = s.status
    group by message_id
), planned as materialized (
    from ({planned}) semi join part_of_touched using (message_id)
), foreign_ones as (
    -- Without a plan of a known send, only events tell whose they are: few, and mostly none.
    select message_id, max(send_id) as send_id, max(contact_id) as contact_id, max(channel) as channel,
           max(organisation_id) as organisation_id
    from core.events semi join (
        from part_of_touched anti join (from planned semi join campaign.sends using (send_id)) using (message_id)
    ) using (message_id)
    where match is distinct from 'unmatched'
    group by message_id
)
select c.message_id, coalesce(m.send_id, a.send_id, f.send_id) as send_id, n.campaign_id,
       coalesce(m.contact_id, f.contact_id) as contact_id, coalesce(m.channel, f.channel) as channel,
       coalesce(n.organisation_id, f.organisation_id) as organisation_id,
       m.variant, coalesce(m.channel || ':' || a.provider, m.lane) as lane, m.score_band, m.segments, m.cost_micros,
       m.cost_currency, m.domain, m.time_zone,
       r.status, r.status_rank,
       coalesce(a.accepted_at, t.queued_at) as accepted_at,
       -- Quicker than a cast, which asks for the session's calendar row by row.
       make_timestamp(epoch_us(coalesce(a.accepted_at, t.queued_at, m.due_at)))::date as day,
       -- What the provider told any step of, it has accepted.
       case when r.status_rank >= 20 then 'accepted' else coalesce(a.refused.status, 'waiting') end as state,
       case when state = 'refused' then a.refused.reason end as refusal_reason,
       t.loss.kind as failure_kind, t.loss.code as failure_code, t.loss.reason as failure_reason,
       t.sent_at, t.deferred_at, t.delivered_at, t.bounced_at, t.failed_at, t.first_opened_at, t.first_human_opened_at,
       t.first_clicked_at, t.first_human_clicked_at, t.complained_at, t.unsubscribed_at,
       coalesce(t.opens, 0) as opens, coalesce(t.human_opens, 0) as human_opens, coalesce(t.clicks, 0) as clicks,
       coalesce(t.human_clicks, 0) as human_clicks, t.last_event_at, $now::timestamptz as updated_at,
       $load_id as load_id
from part_of_touched c
left join told t using (message_id)
left join answered a using (message_id)
left join planned m using (message_id)
left join foreign_ones f using (message_id)
left join campaign.sends n on n.send_id = coalesce(m.send_id, a.send_id, f.send_id)
join ranks r on r.status_rank = coalesce(greatest(t.status_rank, a.status_rank), 0)
where coalesce(t.message_id, a.message_id, m.message_id) is not null
