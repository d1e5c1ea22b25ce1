/* ---
description: Where everybody of each send's audience ended up. The sums that must hold.
grain: one send that has an audience
key: send_id
group: analytics
owner: team:analysts
freshness_hours: 26
after_send: true
chart: {name: messages_by_send, of: sum(messages), by: send_id}
figures:
  audience: sum(audience)
  excluded: sum(excluded)
  messages: sum(messages)
  accepted: sum(accepted)
  unknown: sum(unknown)
columns:
  send_id: {type: varchar, description: The send., tests: [not_null, unique, {relation: campaign.sends.send_id}]}
  campaign_id:
  organisation_id: {type: varchar, description: Whose messages they are., tests: [not_null]}
  audience: {type: bigint, unit: contacts, description: Contacts that were selected., tests: [not_null]}
  excluded: {type: bigint, unit: contacts, description: "Of them, those whom rules keep from every channel.", tests: [not_null]}
  messages:
  accepted:
  refused:
  deferred:
  cancelled:
  unknown:
  waiting:
  computed_at: {type: timestamp with time zone, description: When this was counted., tests: [not_null]}
checks:
  states_sum: >-
    select send_id from mart.send_funnel
    where messages <> accepted + refused + deferred + cancelled + unknown + waiting
--- */
with counted as (
    select send_id,
           sum(messages)::bigint as messages, sum(accepted)::bigint as accepted, sum(refused)::bigint as refused,
           sum(deferred)::bigint as deferred, sum(cancelled)::bigint as cancelled, sum(unknown)::bigint as unknown,
           sum(waiting)::bigint as waiting
    from core.message_counts group by send_id
)
select a.send_id, n.campaign_id, n.organisation_id, a.audience, a.excluded,
       coalesce(c.messages, 0) as messages, coalesce(c.accepted, 0) as accepted, coalesce(c.refused, 0) as refused,
       coalesce(c.deferred, 0) as deferred, coalesce(c.cancelled, 0) as cancelled,
       coalesce(c.unknown, 0) as unknown, coalesce(c.waiting, 0) as waiting,
       $now::timestamptz as computed_at
from core.send_audience a
join campaign.sends n using (send_id)
left join counted c using (send_id)
