-- What is counted of experiments: one set-based query, a row for each arm and metric.

-- name: statistics
-- The sufficient statistics of every test in `tested_versions` (campaign_id, version, window_days), as of $now.
-- Everybody counts once, by intention to treat: in the arm of its first send, whatever became of the message. What it
-- bought counts from that send's due time until the window after the campaign's latest send closes, which is the same
-- for those who were held out. Held out are contacts against whom nothing speaks but the holdout on some channel;
-- windows ($windows are their rules) only defer, unless they never open.
with sends as (
    select s.send_id, s.campaign_id, s.organisation_id, s.due_at, t.window_days
    from campaign.sends s join tested_versions t on t.campaign_id = s.campaign_id and t.version = s.version
    where s.due_at <= $now::timestamptz
),
tests as (
    select campaign_id, any_value(organisation_id) as organisation_id, min(due_at) as started_at,
           max(due_at) + to_days(max(window_days)) as ends_at
    from sends group by campaign_id
),
exposed as (
    select s.campaign_id, m.contact_id, m.channel, m.variant, s.due_at,
           coalesce(f.first_human_opened_at is not null, false) as is_opened,
           coalesce(f.first_human_clicked_at is not null, false) as is_clicked,
           coalesce(f.unsubscribed_at is not null, false) as is_unsubscribed,
           coalesce(f.complained_at is not null, false) as is_complained
    from campaign.messages m
    join sends s using (send_id)
    left join core.message_status f using (message_id)
    union all
    select s.campaign_id, d.contact_id, null, $holdout, s.due_at, false, false, false, false
    from campaign.decisions d
    join sends s using (send_id)
    where d.decision = 'excluded'
      and list_transform(
              list_filter(d.rules, lambda rule: not (list_contains($windows, rule.rule_id)
                                                     and rule.evidence not like '%never open%')),
              lambda rule: rule.rule_id) = ['holdout']
),
with_channels as (
    select campaign_id from exposed group by campaign_id having count(distinct channel) > 1
),
members as (
    select campaign_id, $every_channel as channel, contact_id, arg_min(variant, due_at) as variant,
           min(due_at) as entered_at, bool_or(is_opened) as is_opened, bool_or(is_clicked) as is_clicked,
           bool_or(is_unsubscribed) as is_unsubscribed, bool_or(is_complained) as is_complained
    from exposed group by campaign_id, contact_id
    union all
    select campaign_id, channel, contact_id, arg_min(variant, due_at), min(due_at), bool_or(is_opened),
           bool_or(is_clicked), bool_or(is_unsubscribed), bool_or(is_complained)
    from exposed semi join with_channels using (campaign_id)
    where channel is not null group by campaign_id, channel, contact_id
),
converted as (
    select m.campaign_id, m.channel, m.variant, m.contact_id, b.currency,
           sum(coalesce(b.value_micros, 0)) / 1e6 as value
    from members m
    join tests t using (campaign_id)
    join core.business_events b on b.contact_id = m.contact_id and b.organisation_id = t.organisation_id
        and b.occurred_at >= m.entered_at and b.occurred_at < t.ends_at
    where list_contains($types, b.type) or (starts_with(b.type, $custom_prefix) and b.value_micros is not null)
    group by all
),
converts as (
    select campaign_id, channel, variant, count(distinct contact_id) as conversion from converted group by all
),
arms as (
    select campaign_id, channel, variant, count(*) as contacts,
           count(*) filter (where is_opened) as human_open,
           count(*) filter (where is_clicked) as human_click,
           count(*) filter (where is_unsubscribed) as unsubscribe,
           count(*) filter (where is_complained) as complaint
    from members group by all
),
counted as (
    select a.*, coalesce(c.conversion, 0) as conversion
    from arms a left join converts c using (campaign_id, channel, variant)
),
revenue as (
    select campaign_id, channel, variant, currency, count(*) filter (where value <> 0) as successes,
           sum(value) as total, sum(value * value) as squares
    from converted where currency is not null group by all
),
told as (
    select campaign_id, channel, variant, metric, null::varchar as currency, contacts, successes, 0.0::double as total,
           0.0::double as squares
    from (unpivot counted on human_open, human_click, conversion, unsubscribe, complaint
          into name metric value successes)
    union all
    select a.campaign_id, a.channel, a.variant, 'revenue', r.currency, a.contacts, r.successes, r.total, r.squares
    from revenue r join arms a using (campaign_id, channel, variant)
    union all
    select campaign_id, channel, variant, 'revenue', null, contacts, 0, 0.0, 0.0
    from arms anti join revenue using (campaign_id)
)
select campaign_id, started_at, ends_at, channel, variant, metric, currency, contacts, successes, total, squares
from told join tests using (campaign_id)
order by campaign_id, channel, variant, metric, currency
