-- name: send
select send_id, campaign_id, version, organisation_id, message_class, due_at
from campaign.sends where send_id = $send_id

-- name: performance
select channel, variant, messages, accepted, refused, delivered, bounced, opened, human_opened, clicked,
       unsubscribed, complained, delivery_rate, human_open_rate, click_rate
from mart.campaign_performance where send_id = $send_id order by channel, variant

-- name: time_course
-- People's opens and clicks over time, in at most 48 equal steps between the first event and the last.
with acts as (
    select occurred_at from core.events
    where send_id = $send_id and kind in ('opened', 'clicked') and verdict = 'human'
),
span as (
    select min(occurred_at) as first_at,
           greatest(1, epoch(max(occurred_at)) - epoch(min(occurred_at))) / 48 as step_seconds
    from acts
)
select first_at + to_seconds(step_seconds * least(47, floor((epoch(occurred_at) - epoch(first_at)) / step_seconds))) as moment,
       count(*) as acts
from acts, span group by moment order by moment

-- name: links
select url, count(*) filter (where verdict = 'human') as people, count(*) as clicks
from core.events where send_id = $send_id and kind = 'clicked' and url is not null
group by url order by people desc, clicks desc, url limit 20

-- name: refusals
select coalesce(o.reason, 'other') as reason, coalesce(o.code, '') as code, count(*) as messages
from (select message_id, arg_max(status, outcome_id) as status, arg_max(reason, outcome_id) as reason,
             arg_max(code, outcome_id) as code
      from core.outcomes where send_id = $send_id group by message_id) o
where o.status = 'refused' group by all order by messages desc, reason
