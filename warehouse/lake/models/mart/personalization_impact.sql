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
  campaign_id: {type: varchar, description: The campaign., tests: [not_null]}
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  channel: {type: varchar, description: "email, sms or whatsapp.", tests: [not_null]}
  score_band: {type: varchar, description: The fifth the personalization score lies in., tests: [not_null, {accepted: ['0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0']}]}
  messages: {type: bigint, unit: messages, description: "Planned.", tests: [not_null]}
  accepted: {type: bigint, unit: messages, description: "The provider took them.", tests: [not_null]}
  delivered: {type: bigint, unit: messages, description: "Arrived, and did not come back.", tests: [not_null]}
  bounced: {type: bigint, unit: messages, description: "Came back in the end.", tests: [not_null]}
  opened: {type: bigint, unit: messages, description: "Opened, by whomever or whatever.", tests: [not_null]}
  human_opened: {type: bigint, unit: messages, description: "Opened by a person.", tests: [not_null]}
  clicked: {type: bigint, unit: messages, description: "Clicked, by whomever or whatever.", tests: [not_null]}
  human_clicked: {type: bigint, unit: messages, description: "Clicked by a person.", tests: [not_null]}
  human_opened_and_clicked: {type: bigint, unit: messages, description: Opened by a person and clicked by one., tests: [not_null]}
  unsubscribed: {type: bigint, unit: messages, description: "The recipient unsubscribed by it.", tests: [not_null]}
  complained: {type: bigint, unit: messages, description: "The recipient called it spam.", tests: [not_null]}
  converted: {type: bigint, unit: messages, description: "Delivered and credited with at least one conversion.", tests: [not_null]}
  delivery_rate: {type: double, unit: share, description: delivered / accepted; null without accepted messages., tests: [share]}
  bounce_rate: {type: double, unit: share, description: bounced / accepted; null without accepted messages., tests: [share]}
  open_rate: {type: double, unit: share, description: opened / delivered; null without delivered messages., tests: [share]}
  human_open_rate: {type: double, unit: share, description: human_opened / delivered; null without delivered messages., tests: [share]}
  click_rate: {type: double, unit: share, description: clicked / delivered; null without delivered messages., tests: [share]}
  human_click_rate: {type: double, unit: share, description: human_clicked / delivered; null without delivered messages., tests: [share]}
  unsubscribe_rate: {type: double, unit: share, description: unsubscribed / delivered; null without delivered messages., tests: [share]}
  complaint_rate: {type: double, unit: share, description: complained / delivered; null without delivered messages., tests: [share]}
  conversion_rate: {type: double, unit: share, description: converted / delivered; null without delivered messages., tests: [share]}
  click_to_open_rate: {type: double, unit: share, description: "human_opened_and_clicked / human_opened: of those opened, how many were clicked too; null without opened ones.", tests: [share]}
--- */
with counted as (
    select campaign_id, organisation_id, channel, score_band,
           sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(delivered)::bigint as delivered,
           sum(bounced)::bigint as bounced, sum(opened)::bigint as opened, sum(human_opened)::bigint as human_opened,
           sum(clicked)::bigint as clicked, sum(human_clicked)::bigint as human_clicked,
           sum(human_opened_and_clicked)::bigint as human_opened_and_clicked,
           sum(unsubscribed)::bigint as unsubscribed, sum(complained)::bigint as complained,
           sum(converted)::bigint as converted
    from core.message_counts
    group by campaign_id, organisation_id, channel, score_band
)
select *,
       delivered / nullif(accepted, 0) as delivery_rate,
       bounced / nullif(accepted, 0) as bounce_rate,
       opened / nullif(delivered, 0) as open_rate,
       human_opened / nullif(delivered, 0) as human_open_rate,
       clicked / nullif(delivered, 0) as click_rate,
       human_clicked / nullif(delivered, 0) as human_click_rate,
       unsubscribed / nullif(delivered, 0) as unsubscribe_rate,
       complained / nullif(delivered, 0) as complaint_rate,
       converted / nullif(delivered, 0) as conversion_rate,
       human_opened_and_clicked / nullif(human_opened, 0) as click_to_open_rate
from counted
