/* ---
description: How gladly each contact reads what comes by each channel. Feeds the next plan.
grain: one contact that is not erased and channel by which it ever got a message
key: [contact_id, channel]
group: engagement
owner: team:analysts
materialized: view
chart: {name: messages_by_channel, of: sum(messages), by: channel}
columns:
  contact_id: {type: varchar, description: The contact., tests: [not_null, {relation: core.contacts.contact_id}]}
  channel: {type: varchar, description: The channel., tests: [not_null, {accepted: [email, sms, whatsapp]}]}
  messages: {type: bigint, unit: messages, description: Taken by a provider., tests: [not_null]}
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
--- */
with reached as (
    select contact_id, organisation_id, 'email' as channel, email_steps as steps from core.contact_scores
    union all
    select contact_id, organisation_id, 'sms' as channel, sms_steps as steps from core.contact_scores
    union all
    select contact_id, organisation_id, 'whatsapp' as channel, whatsapp_steps as steps from core.contact_scores
),
counted as (
    select contact_id, organisation_id, channel, steps.taken.times::bigint as messages,
           steps.engaged.times::bigint as human_engaged
    from reached where steps.taken.times > 0
)
select contact_id, channel, messages, human_engaged,
       case when e.channel is null then 0.2 else (human_engaged + 1) / (messages + 5.0) end as affinity
from counted
left join (select organisation_id, channel from counted where human_engaged > 0 group by all) e
    using (organisation_id, channel)
