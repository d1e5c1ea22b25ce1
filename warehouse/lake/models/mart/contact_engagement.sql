/* ---
description: How many contacts of each organisation listen, and how much.
grain: one organisation and audience type
key: [organisation_id, audience_type]
group: engagement
owner: team:analysts
freshness_hours: 26
chart: {name: contacts_by_audience_type, of: sum(contacts), by: audience_type}
figures:
  contacts: sum(contacts)
  engaged_30_days: sum(engaged_30_days)
columns:
  organisation_id: {type: varchar, description: The organisation., tests: [not_null]}
  audience_type:
    type: varchar
    description: As in core.contact_scores.
    tests: [not_null, {accepted: [new, contacted, hot, warm, cold]}]
  contacts: {type: bigint, unit: contacts, description: Contacts of this type., tests: [not_null]}
  contact_share: {type: double, unit: share, description: Their share of the organisation's contacts., tests: [not_null, share]}
  mean_engagement_score: {type: double, unit: share, description: Their mean engagement score., tests: [share]}
  mean_churn_risk: {type: double, unit: share, description: Their mean churn risk; null when nothing was delivered to them., tests: [share]}
  engaged_30_days: {type: bigint, unit: contacts, description: Those who opened or clicked within 30 days., tests: [not_null]}
  computed_at: {type: timestamptz, description: When it was computed., tests: [not_null]}
checks:
  counts_everybody: >-
    select s.organisation_id from (select organisation_id, count(*) as contacts from core.contact_scores group by 1) s
    left join (select organisation_id, sum(contacts) as contacts from mart.contact_engagement group by 1) m
    using (organisation_id) where m.contacts is distinct from s.contacts
--- */
select organisation_id, audience_type, count(*) as contacts,
       count(*) / sum(count(*)) over (partition by organisation_id) as contact_share,
       avg(engagement_score) as mean_engagement_score,
       avg(churn_risk) as mean_churn_risk,
       count(*) filter (last_engaged_at > $now::timestamptz - interval 30 days) as engaged_30_days,
       $now::timestamptz as computed_at
from core.contact_scores
group by organisation_id, audience_type
