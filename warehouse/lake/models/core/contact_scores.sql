/* ---
description: >-
  How each contact listens, by what people did (never machines): how much, on which channel, at which hour, and how
  likely it is that the contact has stopped. Feeds the next plan and segments. The formulas are in docs/scores.md.
grain: one contact that is not erased
key: [contact_id]
group: engagement
owner: team:analysts
incremental: contact_id
chart: {name: contacts_by_audience_type, of: count(*), by: audience_type}
figures:
  mean_engagement_score: avg(engagement_score)
  mean_churn_risk: avg(churn_risk)
columns:
  contact_id: {type: varchar, description: The contact., tests: [not_null, unique, {relation: core.contacts.contact_id}]}
  organisation_id: {type: varchar, description: Whose contact it is., tests: [not_null]}
  messages: {type: bigint, unit: messages, description: Messages a provider accepted., tests: [not_null]}
  delivered: {type: bigint, unit: messages, description: "Of these, delivered ones.", tests: [not_null]}
  human_opens: {type: bigint, unit: messages, description: Messages that a person opened., tests: [not_null]}
  human_clicks: {type: bigint, unit: messages, description: Messages in which a person clicked., tests: [not_null]}
  last_message_at: {type: timestamptz, description: When the latest message was accepted.}
  last_engaged_at: {type: timestamptz, description: When a person last opened or clicked.}
  engagement_score:
    type: double
    unit: share
    description: >-
      0 never listens … 1 clicks in everything. Each delivered message counts 1 when clicked, 0.5 when opened, 0
      otherwise, at half the weight every 90 days; one more message without an answer is added.
    tests: [not_null, share]
  channel_engagement:
    type: "map(varchar, double)"
    description: The same score by channel, of the channels that ever delivered.
  best_channel: {type: varchar, description: The channel with the highest score; null without any engagement.}
  best_hour:
    type: tinyint
    unit: hour
    description: The hour of its own day (0-23) around which the contact reads most; null without any engagement.
  churn_risk:
    type: double
    unit: share
    description: >-
      0 still listening … 1 gone: how surprising the silence since the last engagement is, given how often the contact
      used to engage. 1 after a complaint or an unsubscribe; null before the first delivery.
    tests: [share]
  audience_type:
    type: varchar
    description: >-
      new (never got a message), contacted (fewer than 3 delivered and no engagement), hot (score from 0.5), warm (from
      0.15), cold (the rest).
    tests: [not_null, {accepted: [new, contacted, hot, warm, cold]}]
  scored_on: {type: date, description: The UTC day by which ages were taken., tests: [not_null]}
  computed_at: {type: timestamptz, description: When the row was computed., tests: [not_null]}
--- */

-- name: changed
-- Ages are counted in days: with a new day everybody is computed again.
select contact_id from core.message_status where coalesce(load_id, 0) > $after and contact_id is not null
union
select contact_id from core.contacts where updated_at > $since
union
select contact_id from core.contact_scores where scored_on < ($now::timestamptz)::date

-- name: model
with step as (
    -- What a recipient does with it, it has received; what the provider told any step of, it has accepted.
    select s.contact_id, s.channel, s.accepted_at, s.sent_at, s.bounced_at, s.failed_at, s.human_opens, s.human_clicks,
           s.first_human_opened_at, s.first_human_clicked_at, s.complained_at, s.unsubscribed_at,
           least(s.delivered_at, s.first_opened_at, s.first_clicked_at, s.unsubscribed_at, s.complained_at) as reached_at
    from core.message_status s semi join changed using (contact_id)
),
message as (
    select s.contact_id, s.channel, coalesce(s.accepted_at, s.sent_at, s.reached_at) as accepted_at,
           s.reached_at is not null and s.bounced_at is null and s.failed_at is null as is_delivered,
           s.human_opens > 0 or s.human_clicks > 0 as is_engaged,
           s.human_opens > 0 as is_opened, s.human_clicks > 0 as is_clicked,
           greatest(s.first_human_opened_at, s.first_human_clicked_at) as engaged_at,
           s.complained_at is not null or s.unsubscribed_at is not null as is_ended,
           power(0.5, greatest(0, epoch($now::timestamptz)::bigint // 86400 - epoch(s.reached_at)::bigint // 86400) / 90.0) as weight,
           case when s.human_clicks > 0 then 1.0 when s.human_opens > 0 then 0.5 else 0.0 end as worth
    from step s
    join core.contacts c using (contact_id)
    where not c.is_erased and coalesce(s.accepted_at, s.sent_at, s.reached_at) is not null
),
by_channel as (
    select contact_id, channel,
           -- Rounded, so that the order of a sum decides no tie.
           round(sum(weight * worth) / (sum(weight) + 1), 6) as score
    from message where is_delivered group by contact_id, channel
),
channels as (
    select contact_id, map(list(channel order by channel), list(score order by channel)) as channel_engagement,
           arg_max(channel, (score, channel)) filter (score > 0) as best_channel
    from by_channel group by contact_id
),
hours as (
    -- Readings of the hours before and after count half: nine o'clock readers come at ten too.
    select h.contact_id, ((h.local_hour + near.step + 24) % 24)::tinyint as local_hour,
           round(sum(h.weight * near.share), 6) as weight
    from core.send_hours h semi join changed using (contact_id), (values (-1, 0.5), (0, 1.0), (1, 0.5)) near(step, share)
    group by 1, 2
),
best_hours as (
    select contact_id, arg_max(local_hour, (weight, -local_hour)) as best_hour from hours group by contact_id
),
engaged as (
    select contact_id, max(engaged_at) as last_engaged_at from message group by contact_id
),
totals as (
    select m.contact_id,
           count(*) as messages,
           count(*) filter (m.is_delivered) as delivered,
           count(*) filter (m.is_opened) as human_opens,
           count(*) filter (m.is_clicked) as human_clicks,
           count(*) filter (m.is_engaged) as engaged,
           count(*) filter (m.is_delivered and not m.is_engaged
                            and (e.last_engaged_at is null or m.accepted_at > e.last_engaged_at)) as silent,
           bool_or(m.is_ended) as is_ended,
           max(m.accepted_at) as last_message_at,
           any_value(e.last_engaged_at) as last_engaged_at,
           round(coalesce(sum(m.weight * m.worth) filter (m.is_delivered) / (sum(m.weight) filter (m.is_delivered) + 1), 0), 6) as engagement_score
    from message m join engaged e using (contact_id)
    group by m.contact_id
),
scored as (
    select c.contact_id, c.organisation_id,
           coalesce(t.messages, 0) as messages, coalesce(t.delivered, 0) as delivered,
           coalesce(t.human_opens, 0) as human_opens, coalesce(t.human_clicks, 0) as human_clicks,
           t.last_message_at, t.last_engaged_at, coalesce(t.engagement_score, 0) as engagement_score,
           t.is_ended, t.silent, coalesce(t.engaged, 0) as engaged,
           -- As if five more had been sent and one of them read, as in core.channel_affinity.
           (coalesce(t.engaged, 0) + 1) / (coalesce(t.delivered, 0) + 5.0) as engaged_rate
    from core.contacts c
    semi join changed using (contact_id)
    left join totals t using (contact_id)
    where not c.is_erased
)
select s.contact_id, s.organisation_id, s.messages, s.delivered, s.human_opens, s.human_clicks, s.last_message_at,
       s.last_engaged_at, s.engagement_score, ch.channel_engagement, ch.best_channel, h.best_hour,
       -- Bayes: one in ten contacts is taken to be gone; one who is not stays silent so long by chance only.
       case when s.is_ended then 1.0
            when s.delivered > 0 then round(0.1 / (0.1 + 0.9 * power(1 - s.engaged_rate, s.silent)), 6)
       end as churn_risk,
       case when s.messages = 0 then 'new'
            when s.delivered < 3 and s.engaged = 0 then 'contacted'
            when s.engagement_score >= 0.5 then 'hot'
            when s.engagement_score >= 0.15 then 'warm'
            else 'cold'
       end as audience_type,
       ($now::timestamptz)::date as scored_on, $now::timestamptz as computed_at
from scored s
left join channels ch using (contact_id)
left join best_hours h using (contact_id)
