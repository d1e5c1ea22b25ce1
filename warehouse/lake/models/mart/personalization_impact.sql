/* ---
description: Whether messages that fit their recipients better do better, by fifths of the personalization score.
grain: one campaign, channel and score band
key: [campaign_id, organisation_id, channel, score_band]
group: analytics
owner: team:analysts
freshness_hours: 26
chart: {name: delivered_by_score_band, of: sum(delivered), by: score_band}
figures:
  delivered: sum(delivered)
columns:
  campaign_id:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel:
  score_band: {type: varchar, description: The fifth the personalization score lies in., tests: [not_null, {accepted: ['0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0']}]}
  messages:
  accepted:
  delivered:
  bounced:
  opened:
  human_opened:
  clicked:
  human_clicked:
  human_opened_and_clicked:
  unsubscribed:
  complained:
  converted:
  delivery_rate:
  bounce_rate:
  open_rate:
  human_open_rate:
  click_rate:
  human_click_rate:
  unsubscribe_rate:
  complaint_rate:
  conversion_rate:
  click_to_open_rate:
--- */
select campaign_id, organisation_id, channel, score_band,
       sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(delivered)::bigint as delivered,
       sum(bounced)::bigint as bounced, sum(opened)::bigint as opened, sum(human_opened)::bigint as human_opened,
       sum(clicked)::bigint as clicked, sum(human_clicked)::bigint as human_clicked,
       sum(human_opened_and_clicked)::bigint as human_opened_and_clicked,
       sum(unsubscribed)::bigint as unsubscribed, sum(complained)::bigint as complained,
       sum(converted)::bigint as converted
from core.message_counts
group by campaign_id, organisation_id, channel, score_band
