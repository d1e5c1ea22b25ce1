-- mart.send_funnel: where everybody of a send's audience ended up.
-- Grain: send_id. audience = messages + excluded; messages = accepted + refused + deferred + cancelled
-- + unknown + waiting.
with audience as (
    select send_id, count(*) as audience from campaign.audiences group by send_id
),
decided as (
    select send_id, contact_id, bool_or(decision <> 'excluded') as is_allowed
    from campaign.decisions group by send_id, contact_id
),
excluded as (
    select send_id, count(*) filter (where not is_allowed) as excluded from decided group by send_id
),
performance as (
    select send_id, sum(messages) as messages, sum(accepted) as accepted, sum(refused) as refused,
           sum(deferred) as deferred, sum(cancelled) as cancelled, sum(unknown) as unknown, sum(waiting) as waiting
    from mart.campaign_performance group by send_id
)
select a.send_id, n.campaign_id,
       a.audience, coalesce(e.excluded, 0) as excluded,
       coalesce(p.messages, 0)::bigint as messages, coalesce(p.accepted, 0)::bigint as accepted,
       coalesce(p.refused, 0)::bigint as refused, coalesce(p.deferred, 0)::bigint as deferred,
       coalesce(p.cancelled, 0)::bigint as cancelled, coalesce(p.unknown, 0)::bigint as unknown,
       coalesce(p.waiting, 0)::bigint as waiting, $now::timestamptz as computed_at
from audience a
join campaign.sends n using (send_id)
left join excluded e using (send_id)
left join performance p using (send_id)
order by a.send_id
