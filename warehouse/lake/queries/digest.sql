-- name: organisations
select organisation_id from core.contacts union select organisation_id from campaign.sends order by organisation_id

-- name: sends
-- The organisation's sends of the week and of the eight before it, by channel.
select s.send_id, s.campaign_id, s.due_at, s.due_at >= $begins as is_of_week, p.channel,
       sum(p.messages)::bigint as messages, sum(p.accepted)::bigint as accepted, sum(p.delivered)::bigint as delivered,
       sum(p.bounced)::bigint as bounced, sum(p.human_opened)::bigint as human_opened,
       sum(p.human_clicked)::bigint as human_clicked, sum(p.unsubscribed)::bigint as unsubscribed,
       sum(p.complained)::bigint as complained, sum(p.converted)::bigint as converted
from mart.campaign_performance p join campaign.sends s using (send_id)
where s.organisation_id = $organisation_id and s.due_at >= $begins - interval 56 days and s.due_at < $ends
group by all order by s.due_at, s.send_id, p.channel

-- name: growth
-- One row a day of the week and the eight before it, days without any change too.
with days as (
    select unnest(generate_series($begins::date - 56, $ends::date - 1, interval 1 day))::date as day
)
select day, day >= $begins::date as is_of_week, coalesce(sum(g.new_contacts), 0)::bigint as new_contacts,
       coalesce(sum(g.unsubscribed), 0)::bigint as unsubscribed, coalesce(sum(g.complained), 0)::bigint as complained,
       coalesce(sum(g.bounced), 0)::bigint as bounced, coalesce(sum(g.erased), 0)::bigint as erased,
       coalesce(sum(g.net), 0)::bigint as net, max(g.contacts_total) as contacts_total
from days left join (from mart.list_growth where organisation_id = $organisation_id) g using (day)
group by day order by day

-- name: domains
-- Domains by how much of what they accepted came back, in all the time the warehouse covers.
select channel, domain, accepted, delivered, bounced, complained
from mart.deliverability where organisation_id = $organisation_id and accepted > 0
order by accepted desc, channel, domain limit 25

-- name: exclusions
select rule_id, sum(contacts)::bigint as contacts, sum(sole_contacts)::bigint as sole_contacts
from mart.exclusions e join campaign.sends s using (send_id)
where s.organisation_id = $organisation_id and s.due_at >= $begins and s.due_at < $ends
group by rule_id order by contacts desc, rule_id limit 10

-- name: hours
select weekday, local_hour as hour, sum(delivered)::bigint as delivered, sum(human_opened)::bigint as human_opened
from mart.send_time_heatmap where organisation_id = $organisation_id and channel = 'email'
group by all order by all
