-- name: send
select send_id, campaign_id, version, organisation_id, message_class, due_at
from campaign.sends where send_id = $send_id

-- name: earlier
-- Up to 52 earlier sends of the organisation through the same channels, oldest first: what the send compares with.
with totals as (
    select send_id, organisation_id, due_at, array_to_string(list_sort(list(distinct channel)), ' ') as channels,
           sum(accepted)::bigint as accepted, sum(delivered)::bigint as delivered, sum(bounced)::bigint as bounced,
           sum(human_opened)::bigint as human_opened, sum(human_clicked)::bigint as human_clicked,
           sum(unsubscribed)::bigint as unsubscribed, sum(complained)::bigint as complained
    from mart.campaign_performance group by send_id, organisation_id, due_at
)
select earlier.* from totals earlier join totals this using (organisation_id, channels)
where this.send_id = $send_id and earlier.due_at < this.due_at and earlier.accepted > 0
qualify row_number() over (order by earlier.due_at desc, earlier.send_id) <= 52
order by earlier.due_at, earlier.send_id

-- name: performance
select channel, variant, messages, accepted, delivered, bounced, opened, human_opened, human_clicked, unsubscribed,
       complained, converted, delivery_rate, bounce_rate, human_open_rate, human_click_rate
from mart.campaign_performance where send_id = $send_id order by channel, variant

-- name: exclusions
-- Contacts without any message, by rule that spoke against them; `sole_contacts` are kept out by this rule alone.
-- Windows only defer ($windows are their rules), unless they never open.
with kept_out as (
    select contact_id, unnest(rules) as rule from campaign.decisions d
    where send_id = $send_id and decision = 'excluded'
      and not exists (select 1 from campaign.decisions a where a.send_id = $send_id
                      and a.contact_id = d.contact_id and a.decision <> 'excluded')
), spoken as (
    select contact_id, rule.rule_id as rule_id, count(*) over (partition by contact_id) as rules
    from (select distinct contact_id, rule from kept_out)
    where not list_contains($windows, rule.rule_id) or rule.evidence like '%never open%'
    group by contact_id, rule.rule_id
)
select rule_id, count(*) as contacts, count(*) filter (where rules = 1) as sole_contacts
from spoken group by rule_id order by contacts desc, rule_id

-- name: refusals
select coalesce(o.reason, 'other') as reason, coalesce(o.code, '') as code, count(*) as messages
from (select message_id, arg_max(status, outcome_id) as status, arg_max(reason, outcome_id) as reason,
             arg_max(code, outcome_id) as code
      from core.outcomes where send_id = $send_id group by message_id) o
where o.status = 'refused' group by all order by messages desc, reason, code

-- name: acts
-- Messages first opened and first clicked by a person, by the hour (since 1970, UTC).
with acts as (
    select first_human_opened_at as acted_at, 'opened' as act from core.message_status where send_id = $send_id
    union all
    select first_human_clicked_at, 'clicked' from core.message_status where send_id = $send_id
)
select epoch(acted_at)::bigint // 3600 as hour, count(*) filter (act = 'opened') as opened,
       count(*) filter (act = 'clicked') as clicked
from acts where acted_at is not null group by hour order by hour

-- name: hours
-- Messages by the weekday and hour, on the recipient's clock, at which a person first opened or clicked them. UTC where
-- the time zone is not known, or DuckDB does not know it. Clocks differ by quarters of an hour.
with quarters as (
    select c.time_zone, epoch(least(s.first_human_opened_at, s.first_human_clicked_at))::bigint // 900 as quarter,
           count(*) as people
    from core.message_status s left join core.contacts c using (contact_id)
    where s.send_id = $send_id and (s.first_human_opened_at is not null or s.first_human_clicked_at is not null)
    group by all
), placed as (
    select people, timezone(coalesce(z.name, 'UTC'), to_timestamp(quarter * 900)) as local_time
    from quarters q left join (select distinct name from pg_timezone_names()) z on z.name = q.time_zone
)
select isodow(local_time) as weekday, hour(local_time) as hour, sum(people)::bigint as people
from placed group by all order by all

-- name: domains
-- Where the messages went, as mart.deliverability has it for all sends.
select f.channel, f.domain,
       count(*) as accepted, count(*) filter (f.is_delivered) as delivered,
       count(*) filter (f.is_bounced or f.is_failed) as bounced, count(*) filter (f.is_complained) as complained
from core.message_facts f
where f.send_id = $send_id and f.state = 'accepted'
group by all order by accepted desc, f.channel, f.domain limit 25

-- name: links
select url, count(distinct message_id) filter (where verdict = 'human') as people, count(*) as clicks
from core.events where send_id = $send_id and kind = 'clicked' and url is not null
group by url order by people desc, clicks desc, url limit 20

-- name: costs
select lane, messages, segments, cost_micros, currency, converted, revenue_micros, revenue_currency,
       cost_per_delivered_micros, cost_per_human_click_micros, return_on_cost
from mart.costs where send_id = $send_id order by lane

-- name: books
select planned, accepted, refused, deferred, cancelled, unknown, waiting, confirmed, contradicted, enqueued, held,
       is_balanced, reconciled_at
from campaign.reconciliations where send_id = $send_id order by reconciled_at desc limit 1
