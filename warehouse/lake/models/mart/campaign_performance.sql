-- mart.campaign_performance: what became of the messages.
-- Grain: send_id, channel, variant. Rates are null where their denominator is 0. Denominators: delivery and
-- bounce rate over accepted; open, click, unsubscribe and complaint rate over delivered. Each message counts once.
with state as (
    select message_id, arg_max(status, outcome_id) as status from core.outcomes group by message_id
),
told as (
    select message_id,
           bool_or(kind = 'delivered') as is_delivered,
           bool_or(kind in ('bounced', 'failed')) as is_bounced,
           bool_or(kind = 'opened') as is_opened,
           bool_or(kind = 'opened' and verdict = 'human') as is_human_opened,
           bool_or(kind = 'clicked') as is_clicked,
           bool_or(kind = 'unsubscribed') as is_unsubscribed,
           bool_or(kind = 'complained') as is_complained
    from core.events where message_id is not null group by message_id
),
counted as (
    select m.send_id, n.campaign_id, m.channel, m.variant,
           count(*) as messages,
           count(*) filter (where s.status = 'accepted') as accepted,
           count(*) filter (where s.status = 'refused') as refused,
           count(*) filter (where s.status = 'deferred') as deferred,
           count(*) filter (where s.status = 'cancelled') as cancelled,
           count(*) filter (where s.status = 'unknown') as unknown,
           count(*) filter (where s.status is null) as waiting,
           count(*) filter (where t.is_delivered and not t.is_bounced) as delivered,
           count(*) filter (where t.is_bounced) as bounced,
           count(*) filter (where t.is_opened) as opened,
           count(*) filter (where t.is_human_opened) as human_opened,
           count(*) filter (where t.is_clicked) as clicked,
           count(*) filter (where t.is_unsubscribed) as unsubscribed,
           count(*) filter (where t.is_complained) as complained
    from campaign.messages m
    join campaign.sends n using (send_id)
    left join state s using (message_id)
    left join told t using (message_id)
    group by all
)
select *,
       delivered / nullif(accepted, 0) as delivery_rate,
       opened / nullif(delivered, 0) as open_rate,
       human_opened / nullif(delivered, 0) as human_open_rate,
       clicked / nullif(delivered, 0) as click_rate,
       unsubscribed / nullif(delivered, 0) as unsubscribe_rate,
       complained / nullif(delivered, 0) as complaint_rate,
       bounced / nullif(accepted, 0) as bounce_rate,
       $now::timestamptz as computed_at
from counted
order by send_id, channel, variant
