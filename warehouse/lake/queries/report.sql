-- name: send
select send_id, campaign_id, version, organisation_id, message_class, due_at
from campaign.sends where send_id = $send_id

-- name: performance
select channel, variant, messages, accepted, refused, delivered, bounced, opened, human_opened, clicked,
       unsubscribed, complained, delivery_rate, human_open_rate, click_rate
from mart.campaign_performance where send_id = $send_id order by channel, variant

-- name: time_course
-- People's opens and clicks over time: at most 48 steps of whole seconds from the first to the last, quiet ones too.
with acts as (
    select epoch(occurred_at)::bigint as second from core.events
    where send_id = $send_id and kind in ('opened', 'clicked') and verdict = 'human'
),
span as (
    select min(second) as first_second, ceil((max(second) - min(second) + 1) / 48)::bigint as step_seconds,
           (max(second) - min(second)) // step_seconds as last_step
    from acts
),
steps as (
    select to_timestamp(first_second + step * step_seconds) as moment, step
    from span, unnest(range(last_step + 1)) as numbers (step)
),
counted as (
    select (second - first_second) // step_seconds as step, count(*) as acts from acts, span group by 1
)
select moment, coalesce(acts, 0) as acts from steps left join counted using (step) order by moment

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
