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
  email_steps:
    type: &steps >-
      struct(taken struct(times integer, last_at timestamptz), accepted struct(times integer, last_at timestamptz),
      delivered struct(times integer, last_at timestamptz), bounced struct(times integer, last_at timestamptz),
      failed struct(times integer, last_at timestamptz),
      opened struct(times integer, last_at timestamptz), human_opened struct(times integer, last_at timestamptz),
      clicked struct(times integer, last_at timestamptz), human_clicked struct(times integer, last_at timestamptz),
      engaged struct(times integer, last_at timestamptz), unsubscribed struct(times integer, last_at timestamptz),
      complained struct(times integer, last_at timestamptz))
    description: >-
      For each step of its e-mails, how many messages ever made it, and when the latest did; each counts once, at the
      first time, as in core.message_status; taken is accepted by the provider or told any step of, engaged is opened
      or clicked by a person. Null when there never was one. Segments read these in place of every message.
  sms_steps: {type: *steps, description: The same of its texts.}
  whatsapp_steps: {type: *steps, description: The same of its WhatsApp messages.}
  scored_on: {type: date, description: The UTC day by which ages were taken., tests: [not_null]}
  computed_at: {type: timestamptz, description: When the row was computed., tests: [not_null]}
checks:
  engaged_within_taken: >-
    select contact_id from core.contact_scores
    where email_steps.engaged.times > email_steps.taken.times or sms_steps.engaged.times > sms_steps.taken.times
       or whatsapp_steps.engaged.times > whatsapp_steps.taken.times
  nobody_erased: select s.* from core.contact_scores s join core.contacts c using (contact_id) where c.is_erased
--- */

-- name: changed
-- Ages are counted in days: with a new day everybody is computed again.
select contact_id from core.message_status where load_id > $after and contact_id is not null
union
select contact_id from core.contacts where updated_at > $since
union
select contact_id from core.contact_scores where scored_on < ($now::timestamptz)::date

-- name: model
with message as materialized (
    -- What a recipient does with it, it has received; what the provider told any step of, it has accepted (`taken_at`).
    select s.contact_id, s.channel, s.accepted_at, s.delivered_at, s.bounced_at, s.failed_at, s.first_opened_at,
           s.first_human_opened_at, s.first_clicked_at, s.first_human_clicked_at, s.unsubscribed_at, s.complained_at,
           least(s.delivered_at, s.first_opened_at, s.first_clicked_at, s.unsubscribed_at, s.complained_at) as reached_at,
           coalesce(s.accepted_at, s.sent_at, reached_at) as taken_at,
           reached_at is not null and s.bounced_at is null and s.failed_at is null as is_delivered,
           taken_at is not null and s.human_opens > 0 as is_opened,
           taken_at is not null and s.human_clicks > 0 as is_clicked,
           is_opened or is_clicked as is_engaged,
           taken_at is not null and (s.complained_at is not null or s.unsubscribed_at is not null) as is_ended,
           power(0.5, greatest(0, epoch($now::timestamptz)::bigint // 86400 - epoch(reached_at)::bigint // 86400) / 90.0) as weight,
           case when is_clicked then 1.0 when is_opened then 0.5 else 0.0 end as worth
    from core.message_status s semi join changed using (contact_id)
),
engaged as (
    select contact_id, max(greatest(first_human_opened_at, first_human_clicked_at)) as last_engaged_at
    from message group by contact_id
),
by_channel as materialized (
    select contact_id, channel,
           count(taken_at) as messages,
           count(*) filter (is_delivered) as delivered,
           count(*) filter (is_opened) as human_opens,
           count(*) filter (is_clicked) as human_clicks,
           count(*) filter (is_engaged) as engaged,
           count(*) filter (is_delivered and not is_engaged
                            and (last_engaged_at is null or taken_at > last_engaged_at)) as silent,
           bool_or(is_ended) as is_ended,
           max(taken_at) as last_message_at,
           any_value(last_engaged_at) as last_engaged_at,
           sum(weight) filter (is_delivered) as weight,
           sum(weight * worth) filter (is_delivered) as worth,
           {
               'taken': {'times': count(taken_at)::integer, 'last_at': max(taken_at)},
               'accepted': {'times': count(accepted_at)::integer, 'last_at': max(accepted_at)},
               'delivered': {'times': count(delivered_at)::integer, 'last_at': max(delivered_at)},
               'bounced': {'times': count(bounced_at)::integer, 'last_at': max(bounced_at)},
               'failed': {'times': count(failed_at)::integer, 'last_at': max(failed_at)},
               'opened': {'times': count(first_opened_at)::integer, 'last_at': max(first_opened_at)},
               'human_opened': {'times': count(first_human_opened_at)::integer, 'last_at': max(first_human_opened_at)},
               'clicked': {'times': count(first_clicked_at)::integer, 'last_at': max(first_clicked_at)},
               'human_clicked': {'times': count(first_human_clicked_at)::integer, 'last_at': max(first_human_clicked_at)},
               'engaged': {'times': (count(*) filter (is_engaged))::integer,
                           'last_at': max(greatest(first_human_opened_at, first_human_clicked_at)) filter (is_engaged)},
               'unsubscribed': {'times': count(unsubscribed_at)::integer, 'last_at': max(unsubscribed_at)},
               'complained': {'times': count(complained_at)::integer, 'last_at': max(complained_at)}
           } as steps
    from message join engaged using (contact_id)
    group by contact_id, channel
),
total as (
    select contact_id,
           sum(messages)::bigint as messages, sum(delivered)::bigint as delivered,
           sum(human_opens)::bigint as human_opens, sum(human_clicks)::bigint as human_clicks,
           sum(engaged)::bigint as engaged, sum(silent)::bigint as silent, bool_or(is_ended) as is_ended,
           max(last_message_at) as last_message_at, max(last_engaged_at) as last_engaged_at,
           -- Rounded, so that the order of a sum decides no tie.
           round(coalesce(sum(worth) / (sum(weight) + 1), 0), 6) as engagement_score
    from by_channel group by contact_id having sum(messages) > 0
),
channel as (
    select contact_id, channel, steps, round(worth / (weight + 1), 6) as score from by_channel
),
hours as (
    -- Readings of the hours before and after count half: nine o'clock readers come at ten too.
    select h.contact_id, ((h.local_hour + near.step + 24) % 24)::tinyint as local_hour,
           round(sum(h.weight * near.share) * 1e6)::bigint as millionths
    from core.send_hours h semi join changed using (contact_id), (values (-1, 0.5), (0, 1.0), (1, 0.5)) near(step, share)
    group by 1, 2
),
best_hours as (
    -- Of equals the earliest. One number to compare by is faster than two.
    select contact_id, arg_max(local_hour, millionths * 24 - local_hour) as best_hour from hours group by contact_id
),
scored as (
    select c.contact_id, c.organisation_id,
           coalesce(t.messages, 0) as messages, coalesce(t.delivered, 0) as delivered,
           coalesce(t.human_opens, 0) as human_opens, coalesce(t.human_clicks, 0) as human_clicks,
           t.last_message_at, t.last_engaged_at, coalesce(t.engagement_score, 0) as engagement_score,
           t.is_ended, t.silent, coalesce(t.engaged, 0) as engaged,
           -- As if five more had been sent and one of them read, as in core.channel_affinity.
           (coalesce(t.engaged, 0) + 1) / (coalesce(t.delivered, 0) + 5.0) as engaged_rate,
           email.score as email_score, sms.score as sms_score, whatsapp.score as whatsapp_score,
           greatest(email.score, sms.score, whatsapp.score) as best_score, h.best_hour,
           email.steps as email_steps, sms.steps as sms_steps, whatsapp.steps as whatsapp_steps
    from core.contacts c
    semi join changed using (contact_id)
    left join total t using (contact_id)
    left join channel email on email.contact_id = c.contact_id and email.channel = 'email'
    left join channel sms on sms.contact_id = c.contact_id and sms.channel = 'sms'
    left join channel whatsapp on whatsapp.contact_id = c.contact_id and whatsapp.channel = 'whatsapp'
    left join best_hours h on h.contact_id = c.contact_id
    where not c.is_erased
)
select contact_id, organisation_id, messages, delivered, human_opens, human_clicks, last_message_at, last_engaged_at,
       engagement_score,
       case when best_score is not null then map_from_entries(list_filter(
           [{'k': 'email', 'v': email_score}, {'k': 'sms', 'v': sms_score}, {'k': 'whatsapp', 'v': whatsapp_score}],
           lambda entry: entry.v is not null
       )) end as channel_engagement,
       case when best_score = 0 then null
            when best_score = whatsapp_score then 'whatsapp'
            when best_score = sms_score then 'sms'
            when best_score = email_score then 'email'
       end as best_channel,
       best_hour,
       -- Bayes: one in ten contacts is taken to be gone; one who is not stays silent so long by chance only.
       case when is_ended then 1.0
            when delivered > 0 then round(0.1 / (0.1 + 0.9 * power(1 - engaged_rate, silent)), 6)
       end as churn_risk,
       case when messages = 0 then 'new'
            when delivered < 3 and engaged = 0 then 'contacted'
            when engagement_score >= 0.5 then 'hot'
            when engagement_score >= 0.15 then 'warm'
            else 'cold'
       end as audience_type,
       email_steps, sms_steps, whatsapp_steps,
       ($now::timestamptz)::date as scored_on, $now::timestamptz as computed_at
from scored
