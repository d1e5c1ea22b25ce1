-- core.engagement: how much each contact that ever got a message listens.
-- Grain: contact_id. Only what a person did counts. engagement_score (0-1) is human opens plus twice the human
-- clicks, over twice the messages, at most 1, halved for every 30 days since the last of them.
with per_contact as (
    select m.contact_id,
           count(distinct m.message_id) as messages,
           count(distinct m.message_id) filter (where e.kind = 'delivered') as delivered,
           count(distinct m.message_id) filter (where e.kind = 'opened' and e.verdict = 'human') as human_opens,
           count(distinct m.message_id) filter (where e.kind = 'clicked' and e.verdict = 'human') as human_clicks,
           max(e.occurred_at) filter (where e.kind in ('opened', 'clicked') and e.verdict = 'human')
               as last_engaged_at
    from campaign.messages m
    left join core.events e on e.message_id = m.message_id
    group by m.contact_id
)
select *,
       coalesce(
           least(1.0, (human_opens + 2 * human_clicks) / (2.0 * messages))
           * power(0.5, greatest(0, date_diff('day', last_engaged_at, $now::timestamptz)) / 30.0),
           0.0) as engagement_score,
       $now::timestamptz as computed_at
from per_contact
