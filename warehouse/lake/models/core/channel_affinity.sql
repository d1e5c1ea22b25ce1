-- core.channel_affinity: how gladly each contact reads what comes by each channel.
-- Grain: contact_id, channel. human_engaged counts messages that a person opened or clicked. affinity (0-1) is their
-- share of the messages, smoothed as if five more had been sent and one of them engaged: (human_engaged + 1) /
-- (messages + 5). A channel on which nobody of the organisation ever engaged tells nothing, as texts without tracked
-- links: everybody has 0.2 there, which is what no message at all would give.
with per_channel as (
    select m.contact_id, m.channel, any_value(s.organisation_id) as organisation_id,
           count(distinct m.message_id) as messages,
           count(distinct m.message_id) filter (where e.kind in ('opened', 'clicked') and e.verdict = 'human')
               as human_engaged
    from campaign.messages m
    join campaign.sends s using (send_id)
    left join core.events e on e.message_id = m.message_id
    group by m.contact_id, m.channel
)
select contact_id, channel, messages, human_engaged,
       case when max(human_engaged) over (partition by organisation_id, channel) = 0 then 0.2
            else (human_engaged + 1) / (messages + 5.0)
       end as affinity,
       $now::timestamptz as computed_at
from per_channel
