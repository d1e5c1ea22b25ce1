/* ---
description: How gladly each contact reads what comes by each channel. Feeds the next plan.
grain: one contact and channel that ever got a message
key: [contact_id, channel]
group: engagement
owner: team:analysts
chart: {name: messages_by_channel, of: sum(messages), by: channel}
columns:
  contact_id: {type: varchar, description: The contact., tests: [not_null, {relation: core.contacts.contact_id}]}
  channel: {type: varchar, description: The channel., tests: [not_null, {accepted: [email, sms, whatsapp]}]}
  messages: {type: bigint, unit: messages, description: Messages planned for it by the channel., tests: [not_null]}
  human_engaged:
    {type: bigint, unit: messages, description: Those that a person opened or clicked., tests: [not_null]}
  affinity:
    type: double
    unit: share
    description: >-
      The share of the messages that a person opened or clicked, smoothed as if five more had been sent and one of them
      engaged. A channel on which nobody of the organisation ever engaged tells nothing, as texts without tracked
      links: everybody has 0.2 there, which is what no message at all would give.
    tests: [not_null, share]
  computed_at: {type: timestamptz, description: When the row was computed., tests: [not_null]}
checks:
  engaged_within_messages: select * from core.channel_affinity where human_engaged > messages
--- */

with per_channel as (
    select contact_id, channel, any_value(organisation_id) as organisation_id, count(*) as messages,
           count(*) filter (is_human_opened or is_human_clicked) as human_engaged
    from core.message_facts
    group by contact_id, channel
)
select contact_id, channel, messages, human_engaged,
       case when max(human_engaged) over (partition by organisation_id, channel) = 0 then 0.2
            else (human_engaged + 1) / (messages + 5.0)
       end as affinity,
       $now::timestamptz as computed_at
from per_channel
